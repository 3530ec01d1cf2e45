"""Write the conda environments of the rules from the pins in the requirements files.

    python envs/conda.py            write them
    python envs/conda.py --check    fail where they are not what would be written

A conda environment file cannot include one of pip's: so the pins stand in requirements*.txt alone, and these files are
written from them. pointad_core itself comes from the project's folder, which is on a script's path.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENTS = {
    "pointad.yaml": ("requirements.txt",),
    "pretraining.yaml": ("requirements.txt", "requirements-pretraining.txt"),
}
HEAD = """\
# Written by envs/conda.py from {}: do not edit. For `snakemake --sdm conda`.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.12
  - libusb
  - pip
  - pip:
"""


def main() -> None:
    for name, sources in ENVIRONMENTS.items():
        lines = [line.strip() for source in sources for line in (HERE / source).read_text().splitlines()]
        text = HEAD.format(" and ".join(sources))
        text += "".join(f"      - {pin}\n" for pin in lines if pin and not pin.startswith("#"))
        path = HERE / name
        if sys.argv[1:] != ["--check"]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is not what {' and '.join(sources)} say: run `python {sys.argv[0]}`")


if __name__ == "__main__":
    main()
