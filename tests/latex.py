"""LaTeX compiled as a user does."""

import subprocess
from pathlib import Path


def compile_tex(source: str, folder: Path) -> str:
    """What pdflatex says of a document, which it must make without an error: `tables.pdf` in the folder."""
    (folder / "tables.tex").write_text(source, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout
