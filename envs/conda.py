"""Write envs/pointad.yaml, the conda environment of every rule, from the pins in requirements.txt.

    python envs/conda.py            write it
    python envs/conda.py --check    fail where it is not what would be written

A conda environment file cannot include one of pip's: so the pins stand in requirements.txt alone, and this file is
written from them. pointad_core itself comes from the workflow's folder, which Snakemake puts on a script's path.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
HEAD = """\
# Written by envs/conda.py from requirements.txt: do not edit. For `snakemake --sdm conda`.
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
    lines = [line.strip() for line in (HERE / "requirements.txt").read_text().splitlines()]
    text = HEAD + "".join(f"      - {pin}\n" for pin in lines if pin and not pin.startswith("#"))
    path = HERE / "pointad.yaml"
    if sys.argv[1:] != ["--check"]:
        path.write_text(text)
    elif path.read_text() != text:
        sys.exit(f"{path} is not what requirements.txt says: run `python {sys.argv[0]}`")


if __name__ == "__main__":
    main()
