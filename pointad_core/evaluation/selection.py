"""Some scans of a category, by their names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pointad_core.errors import InputError


def check_scans(category: str, scans: Iterable[str], known: Sequence[str]) -> None:
    """Refuse scans of which the category has one not, and say some that it has."""
    if unknown := sorted(set(scans) - set(known)):
        raise InputError(f"category {category!r} has no scan {unknown[0]!r}; it has {', '.join(map(repr, known[:3]))}")
