"""Check the system libraries that Open3D needs, and install what is missing where that is possible.

    python envs/system.py [--latex] [--browser] [--slurm]

As root on Debian or Ubuntu the packages are installed; elsewhere the one command to run is printed. --latex looks for
pdflatex too, which only the test that compiles the tables needs; --browser for Chromium and its driver, in which tests
open the viewer's pages; --slurm for Slurm's daemons, which the tests of the cluster start. The exit status is 0 even
with something missing: what cannot do without it says so itself.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
# Program: package of Debian that has it; Ubuntu has these as a snap.
BROWSER = {"chromium": "chromium", "chromedriver": "chromium-driver"}
# Program: package of Slurm that has it.
SLURM = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
# While this file says so, Debian starts no daemon that it installs; the tests start their own.
NO_DAEMONS = Path("/usr/sbin/policy-rc.d")


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def missing(latex: bool, browser: bool, slurm: bool) -> list[str]:
    packages = [package for library, package in LIBRARIES.items() if not loads(library)]
    if not any(any(Path("/").glob(pattern)) for pattern in DRIVERS):
        packages.append(MESA)
    if latex and shutil.which("pdflatex") is None:
        packages += LATEX
    if browser:
        packages += [package for program, package in BROWSER.items() if shutil.which(program) is None]
    if slurm:
        packages += [package for program, package in SLURM.items() if shutil.which(program) is None]
    return packages


@contextmanager
def no_daemons() -> Iterator[None]:
    """Keep the package manager from starting what it installs, unless the system has its own word on that."""
    if NO_DAEMONS.exists():
        yield
        return
    NO_DAEMONS.write_text("#!/bin/sh\nexit 101\n")
    NO_DAEMONS.chmod(0o755)
    try:
        yield
    finally:
        NO_DAEMONS.unlink()


def main() -> None:
    options = [f"--{name}" in sys.argv[1:] for name in ("latex", "browser", "slurm")]
    packages = missing(*options)
    if not packages:
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with no_daemons():
            subprocess.run(["apt-get", "update"], env=environment, check=False)
            for package in packages:
                # One by one: a package that this system does not have keeps no other away.
                command = ["apt-get", "install", "--yes", "--no-install-recommends", package]
                subprocess.run(command, env=environment, check=False)
        packages = missing(*options)
    if packages:
        print(f"Missing on this system: {' '.join(packages)}", file=sys.stderr)
        print(f"On Debian or Ubuntu: sudo apt-get install {' '.join(packages)}", file=sys.stderr)


if __name__ == "__main__":
    main()
