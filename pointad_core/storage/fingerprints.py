"""A hash of the code that a result depends on, so that Snakemake sees an edit in a library that a script imports.

A module stands for itself and all that it imports of this package, wherever in the file, found by parsing. What is
hashed is what the code does: its syntax tree without comments, docstrings, layout, line numbers and what is there for
type checking alone. The tree is walked here and not by `ast.dump`, which says the same otherwise in other Pythons.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from pointad_core.errors import InputError

PACKAGE = Path(__file__).parents[1]

LEFT_OUT = {"errors.py", "storage/jobs.py"}
"""Neither hashed nor followed, nor is any `registry`: they carry messages and logs, and lists of names. What matters
of a registry's entry travels as params, and the module that it names is named by the rule."""


def fingerprint(*names: str) -> str:
    """16 hexadecimal digits, the same for the same code; neither order nor repetition of names matters.

    names: modules from this package on ("stages.renders"), its data files ("clip/models/pointad-pocket.json"), and
    paths of Python files outside of it, which may import modules beside them. Raises ValueError for a name that is
    none of these, or left out; InputError for a file that is no Python.
    """
    text = "".join(f"{label} {digest}\n" for label, digest in sorted(follow(*names)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def follow(*names: str) -> list[tuple[str, str]]:
    """Files behind these names and their hashes: those of this package by their paths in it, others by their names."""
    waiting = [_source(name) for name in names]
    seen: dict[str, tuple[str, str]] = {}
    while waiting:
        path = waiting.pop()
        if path not in seen:
            stat = os.stat(path)
            label, digest, imported = _read(path, PACKAGE, stat.st_mtime_ns, stat.st_size)
            seen[path] = label, digest
            waiting += imported
    return list(seen.values())


def _source(name: str) -> str:
    """The file that a name stands for."""
    own = Path(name).expanduser()
    found = own.resolve() if name.endswith(".py") and own.is_file() else _module(PACKAGE, name) or PACKAGE / name
    if not found.is_file():
        raise ValueError(f"fingerprint: pointad_core has no module {name!r}")
    if _is_left_out(found, PACKAGE):
        raise ValueError(f"fingerprint: {name!r} is part of no result")
    return str(found)


def _module(folder: Path, name: str) -> Path | None:
    """The file of a module or package that is named from a folder on; of the folder itself for no name."""
    path = folder.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.with_name(path.name + ".py"))[: 2 if name else 1]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _is_left_out(path: Path, package: Path) -> bool:
    if not path.is_relative_to(package):
        return False
    return path.name == "registry.py" or path.relative_to(package).as_posix() in LEFT_OUT


@cache
def _read(file: str, package: Path, mtime_ns: int, size: int) -> tuple[str, str, tuple[str, ...]]:
    """Label, hash and imported files of a file as it was at that time."""
    path = Path(file)
    content, imported = path.read_bytes(), _around(path, package)
    if path.suffix == ".py":
        try:
            tokens, imports = _tokens(ast.parse(content))
        except SyntaxError as error:
            raise InputError(f"{path}, line {error.lineno or 1}: {error.msg}") from None
        content = "\n".join(tokens).encode()
        for found in (found for node in imports for found in _imported(node, path, package)):
            imported |= _around(found, package) if _is_left_out(found, package) else {found}
    label = path.relative_to(package).as_posix() if path.is_relative_to(package) else path.name
    return label, hashlib.sha256(content).hexdigest(), tuple(map(str, imported))


def _around(path: Path, package: Path) -> set[Path]:
    """The package around a module. Not pointad_core itself: it counts where something is imported from there alone."""
    folder = path.parents[path.name == "__init__.py"]
    init = folder / "__init__.py"
    return {init} if init.is_file() and folder != package else set()


def _imported(node: ast.Import | ast.ImportFrom, path: Path, package: Path) -> Iterator[Path]:
    """Files that an import in a file stands for: a name in a module may be a module itself."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            choices, level = [alias.name], 0
        else:
            choices, level = [f"{node.module or ''}.{alias.name}", node.module or ""], node.level
        yield from [found for name in choices if (found := _find(name, level, path, package))][:1]


def _find(name: str, level: int, path: Path, package: Path) -> Path | None:
    """A module by the name and the leading dots that a file imports it by, of this package or beside that file."""
    if level:
        return _module(path.parents[level - 1], name)
    top, _, rest = name.partition(".")
    if top == "pointad_core":
        return _module(package, rest)
    if path.is_relative_to(package):
        return None
    return _module(path.parent, name) or (_module(path.parent, rest) if top == path.parent.name else None)


# The tree --------------------------------------------------------------------------------------------------------


@cache
def _in_order(fields: tuple[str, ...]) -> list[str]:
    # Whether a name is read or written (ctx) follows from its place.
    return sorted(set(fields) - {"ctx", "kind", "type_comment", "type_ignores"}, reverse=True)


def _tokens(tree: ast.AST) -> tuple[list[str], list[ast.Import | ast.ImportFrom]]:
    """What a tree does, as text that is the same in every Python, and its imports.

    A node is its name with "(", its fields, by name and without empty ones, and ")"; a list stands in "[" and "]".
    """
    tokens: list[str] = []
    imports: list[ast.Import | ast.ImportFrom] = []
    stack: list[object] = [tree]
    while stack:
        item = stack.pop()
        if type(item) is str:
            tokens.append(item)
        elif type(item) is list:
            tokens.append("[")
            stack.append("]")
            stack += reversed(list(_statements(item)) if item and isinstance(item[0], ast.stmt) else item)
        elif isinstance(item, ast.Constant):
            # `repr` depends on what characters a Python knows.
            tokens.append(f"Constant {item.value!a}")
        elif isinstance(item, ast.AST):
            tokens.append(f"{type(item).__name__}(")
            stack.append(")")
            if isinstance(item, ast.Import | ast.ImportFrom):
                imports.append(item)
            for field in _in_order(item._fields):
                value = getattr(item, field, None)
                if isinstance(item, ast.JoinedStr):
                    # Python 3.12 has empty texts in it.
                    value = [part for part in item.values if getattr(part, "value", None) != ""]
                if value or value == 0 or isinstance(item, ast.MatchSingleton):
                    stack += (value, field)
        else:
            # A number, or None in the place of an element.
            tokens.append(repr(item))
    return tokens, imports


def _statements(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements without docstrings and without what is there for type checking alone."""
    for statement in statements:
        match statement:
            case ast.Expr(ast.Constant(str())):
                pass
            case ast.If(ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                yield from _statements(statement.orelse)
            case _:
                yield statement
