"""Write envs/pointad.yaml, the conda environment of every rule, from the pins in requirements.txt.

    python envs/conda.py

A conda environment file cannot include one of pip's: so the pins stand in requirements.txt alone, and this file is
written from them. pointad_core itself comes from the workflow's folder, which Snakemake puts on a script's path.
"""

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


def render() -> str:
    pins = [line.strip() for line in (HERE / "requirements.txt").read_text().splitlines()]
    return HEAD + "".join(f"      - {pin}\n" for pin in pins if pin and not pin.startswith("#"))


if __name__ == "__main__":
    (HERE / "pointad.yaml").write_text(render())
