"""A content hash of the package's files, so that Snakemake sees an edit in a library that a rule calls."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def source(module: str) -> Path:
    """A module's file; modules are named from the package on ("views", "methods.pointad"), data files by path."""
    path = PACKAGE.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_name(path.name + ".py"), PACKAGE / module):
        if candidate.is_file():
            return candidate
    raise ValueError(f"fingerprint: pointad_core has no module {module!r}")


@cache
def fingerprint(*modules: str) -> str:
    """SHA-256 over the files' bytes and names; neither order nor repetition of names matters.

    Raises ValueError for a name that is neither a module nor a data file of this package.
    """
    digest = hashlib.sha256()
    for module in sorted(set(modules)):
        path = source(module)
        content = weights_hash(path) if path.suffix == ".safetensors" else path.read_bytes()
        digest.update(f"{module}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


@cache
def weights_hash(path: Path) -> bytes:
    """SHA-256 of a model's weights, read once: they are part of many fingerprints."""
    return hashlib.sha256(path.read_bytes()).digest()
