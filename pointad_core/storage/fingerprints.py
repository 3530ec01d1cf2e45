"""A hash of the code that a result depends on, so that Snakemake sees an edit in a library that a script imports.

A module stands for itself and all that it imports of this package, wherever in the file, found by parsing. What is
hashed is what the code does: its syntax tree without comments, docstrings, layout, line numbers and what is there for
type checking alone. The tree is walked here and not by `ast.dump`, which says the same otherwise in other Pythons.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pointad_core.errors import InputError

PACKAGE = Path(__file__).parents[1]

LEFT_OUT = {"errors.py", "imports.py", "storage/jobs.py"}
"""None is hashed or followed, nor is any `registry`: they carry messages and logs, which parts of a library are loaded,
and lists of names. What matters of a registry's entry travels as params, and the module that it names is named by the
rule."""


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
    seen: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    while waiting:
        if (file := waiting.pop()) not in seen:
            stat = os.stat(file)
            seen[file] = _read(file, stat.st_mtime_ns, stat.st_size)
            waiting += seen[file][2]
    return [(label, digest) for label, digest, _ in seen.values()]


def _source(name: str) -> str:
    """The file that a name stands for."""
    own = Path(name).expanduser()
    found = own.resolve() if name.endswith(".py") and own.is_file() else _module(PACKAGE, name) or PACKAGE / name
    if not found.is_file():
        raise ValueError(f"fingerprint: pointad_core has no module {name!r}")
    if _is_left_out(found):
        raise ValueError(f"fingerprint: {name!r} is part of no result")
    return str(found)


def _module(folder: Path, name: str) -> Path | None:
    """The file of a module or package that is named from a folder on."""
    path = folder.joinpath(*name.split("."))
    return next(filter(Path.is_file, (path / "__init__.py", path.with_name(path.name + ".py"))), None)


def _is_left_out(path: Path) -> bool:
    own = path.is_relative_to(PACKAGE)
    return own and (path.name == "registry.py" or path.relative_to(PACKAGE).as_posix() in LEFT_OUT)


@cache
def _read(file: str, mtime_ns: int, size: int) -> tuple[str, str, tuple[str, ...]]:
    """Label, hash and imported files of a file as it was at that time."""
    path = Path(file)
    content, imported = path.read_bytes(), _around(path)
    if path.suffix == ".py":
        try:
            tokens, imports = _tokens(ast.parse(content))
        except SyntaxError as error:
            raise InputError(f"{path}, line {error.lineno or 1}: {error.msg}") from None
        content = "\n".join(tokens).encode()
        for found in (found for node in imports for found in _imported(node, path)):
            imported |= _around(found) if _is_left_out(found) else {found}
    label = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
    return label, hashlib.sha256(content).hexdigest(), tuple(map(str, imported))


def _around(path: Path) -> set[Path]:
    """The package around a module. Not pointad_core itself: it counts where something is imported from there alone."""
    init = path.parents[path.name == "__init__.py"] / "__init__.py"
    return {init} if init.is_file() and init.parent != PACKAGE else set()


def _imported(node: ast.Import | ast.ImportFrom, path: Path) -> Iterator[Path]:
    """Files that an import in a file stands for, of this package or, for another's file, beside that file."""
    module, level = ("", 0) if isinstance(node, ast.Import) else (f"{node.module or ''}.", node.level)
    for alias in node.names:
        name = module + alias.name
        top = name.partition(".")[0]
        if level:
            folders = [path.parents[level - 1]]
        elif top == "pointad_core":
            folders = [PACKAGE.parent]
        elif path.is_relative_to(PACKAGE):
            folders = []
        else:
            folders = [path.parent, path.parents[1]] if top == path.parent.name else [path.parent]
        # A name in a module may be a module itself.
        names = [name, module.rstrip(".")] if module else [name]
        yield from [found for name in names for folder in folders if (found := _module(folder, name))][:1]


@cache
def _in_order(fields: tuple[str, ...]) -> list[str]:
    # Whether a name is read or written (ctx) follows from its place.
    return sorted(set(fields) - {"ctx", "kind", "type_comment", "type_ignores"}, reverse=True)


def _tokens(tree: ast.AST) -> tuple[list[str], list[ast.Import | ast.ImportFrom]]:
    """What a tree does, as text that is the same in every Python, and its imports.

    A node is its name with "(", its fields, by name and without empty ones, and ")"; a list stands in "[" and "]".
    Docstrings and what is there for type checking alone are left out.
    """
    tokens: list[str] = []
    imports: list[ast.Import | ast.ImportFrom] = []
    stack: list[object] = [tree]
    while stack:
        match item := stack.pop():
            case str():
                tokens.append(item)
            case list():
                tokens.append("[")
                stack += ["]", *reversed(item)]
            case ast.Expr(ast.Constant(str())):
                pass
            case ast.If(ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                stack += reversed(item.orelse)
            case ast.Constant():
                # `repr` depends on what characters a Python knows.
                tokens.append(f"Constant {item.value!a}")
            case ast.AST():
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
            case _:
                # A number, or None in the place of an element.
                tokens.append(repr(item))
    return tokens, imports
