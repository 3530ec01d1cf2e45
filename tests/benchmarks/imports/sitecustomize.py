"""Python reads this when it starts, with this folder on PYTHONPATH: how much of a job goes into starting and imports.

When a job of Snakemake ends, a line with its stage, its processor seconds, and those of them that passed before its
first import and within imports, is appended to the file that POINTAD_IMPORTS names.
"""

import atexit
import os
import sys
import time
from importlib import _bootstrap

_find_and_load = _bootstrap._find_and_load
_spent = time.process_time()
_depth = 0


def _timed(name, import_):
    """An import as ever; of one within another the outer one counts."""
    global _depth, _spent
    start = time.process_time()
    _depth += 1
    try:
        return _find_and_load(name, import_)
    finally:
        _depth -= 1
        if not _depth:
            _spent += time.process_time() - start


@atexit.register
def _tell():
    script = os.path.split(sys.argv[0])
    if script[0].endswith(".snakemake/scripts"):
        # One write of few bytes, so that jobs side by side do not mix theirs.
        with open(os.environ["POINTAD_IMPORTS"], "ab", buffering=0) as file:
            file.write(f"{script[1].split('.')[1]} {time.process_time():.4f} {_spent:.4f}\n".encode())


_bootstrap._find_and_load = _timed
