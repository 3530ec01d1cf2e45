"""Check the system libraries that Open3D needs, and install what is missing where that is possible.

    python envs/system.py [--latex]

As root on Debian or Ubuntu the packages are installed; elsewhere the one command to run is printed. --latex looks for
pdflatex too, which only the test that compiles the tables needs. The exit status is 0 even with something missing:
what cannot do without it says so itself.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Library: package of Debian and Ubuntu that has it.
LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libgomp.so.1": "libgomp1",
    "libX11.so.6": "libx11-6",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
}
# Mesa draws without a GPU; it is found by its drivers, not by a library's name.
MESA = "libgl1-mesa-dri"
DRIVERS = ("usr/lib*/dri", "usr/lib/*-linux-gnu/dri", "usr/lib*/libgallium*", "usr/lib/*-linux-gnu/libgallium*")
LATEX = ("texlive-latex-base", "texlive-latex-recommended")


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing(latex: bool) -> list[str]:
    packages = [package for library, package in LIBRARIES.items() if not loads(library)]
    if not any(any(Path("/").glob(pattern)) for pattern in DRIVERS):
        packages.append(MESA)
    if latex and shutil.which("pdflatex") is None:
        packages += LATEX
    return packages


def main() -> None:
    latex = "--latex" in sys.argv[1:]
    packages = missing(latex)
    if not packages:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], env=environment, check=False)
        subprocess.run(command, env=environment, check=False)
        packages = missing(latex)
    if packages:
        print(f"Missing on this system: {' '.join(packages)}", file=sys.stderr)
        print(f"On Debian or Ubuntu: sudo apt-get install {' '.join(packages)}", file=sys.stderr)


if __name__ == "__main__":
    main()
