"""A content hash of the package's modules, so that Snakemake sees an edit in a library that a rule calls."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def source(module: str) -> Path:
    """File of a module of this package, named from the package on: "views", "methods.pointad"; "" is the package."""
    path = PACKAGE.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    raise ValueError(f"fingerprint: pointad_core has no module {module!r}")


@cache
def fingerprint(*modules: str) -> str:
    """SHA-256 over the modules' source bytes and names; neither order nor repetition of names matters.

    Raises ValueError for a name that is no module of this package.
    """
    digest = hashlib.sha256()
    for module in sorted(set(modules)):
        content = source(module).read_bytes()
        digest.update(f"{module}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]
