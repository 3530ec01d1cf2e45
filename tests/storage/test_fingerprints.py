"""Fingerprints: they change with what the code does, wherever it stands, and with nothing else."""

import os
import subprocess
import sys
import textwrap

import pytest

from pointad_core.errors import InputError
from pointad_core.storage import fingerprints
from pointad_core.storage.fingerprints import fingerprint, follow

MODULES = {
    "errors.py": "class InputError(Exception): pass",
    "storage/__init__.py": '"""Files."""',
    "storage/jobs.py": "from pointad_core.storage import files\nLEVEL = 1",
    "storage/files.py": "SEAL = 1",
    "clouds/__init__.py": "",
    "clouds/normals.py": "RADIUS = 0.1",
    "rendering/__init__.py": "BACKGROUND = 1",
    "rendering/registry.py": "from pointad_core.clouds import normals\nRENDERERS = ['splat']",
    "rendering/views.py": "from pointad_core.rendering import BACKGROUND\nANGLES = [0, 36]",
    "rendering/splat.py": "SIZE = 2",
    "stages/__init__.py": "",
    "stages/renders.py": """
        '''Render clouds.'''
        import typing
        from typing import TYPE_CHECKING
        from pointad_core.errors import InputError
        from pointad_core.rendering import registry, views
        from pointad_core.storage import jobs
        if TYPE_CHECKING:
            from pointad_core.rendering import splat

        LIMIT = 10

        def make_renders(clouds, output):
            '''Files in, files out.'''
            from pointad_core.storage import files
            if len(clouds) > LIMIT:
                raise InputError("too many")
            return views.ANGLES, files.SEAL
        """,
    "clip/models/small.json": '{"width": 16}',
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same name with few modules, which a test may edit."""
    root = tmp_path / "pointad_core"
    for name, text in {"__init__.py": "", **MODULES}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    monkeypatch.setattr(fingerprints, "PACKAGE", root)
    return root


def write(path, content):
    """Write a file some time after it was written before: a test may be faster than the file system's clock."""
    later = path.stat().st_mtime_ns + 10**9
    path.write_text(content)
    os.utime(path, ns=(later, later))


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, text
    write(path, text.replace(old, new))


def changes(path, old, new, *names):
    """Whether an edit changes the fingerprint of these names; it is undone."""
    text, before = path.read_text(), fingerprint(*names)
    edit(path, old, new)
    after = fingerprint(*names)
    write(path, text)
    return before != after


# What counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 10", "# At most.\nLIMIT = 10  # clouds"),
        ("LIMIT = 10", "LIMIT = 10\n'''Clouds in a job.'''"),
        ("LIMIT = 10", "LIMIT = (\n    10\n)\n\n\n"),
        ("'''Render clouds.'''\n", ""),
        ("'''Files in, files out.'''", '"""Files in.\n\n    And files out."""'),
        ("    '''Files in, files out.'''\n", ""),
        ('"too many"', "'too many'"),
        ("import splat", "import normals"),
        ("if TYPE_CHECKING:", "if typing.TYPE_CHECKING:"),
        ("10", "0b1010"),
    ],
)
def test_what_the_code_does_not_do_leaves_it(package, old, new):
    assert not changes(package / "stages/renders.py", old, new, "stages.renders")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 10", "LIMIT = 11"),
        ("LIMIT = 10", "LIMIT = 10.0"),
        ("LIMIT = 10", "LIMIT = '10'"),
        (">", ">="),
        ("'''Files in, files out.'''", "b'''Files in, files out.'''"),
        ("import splat", "import splat\nelse:\n    LIMIT = 9"),
        ("clouds, output", "clouds, *, output"),
        ("clouds, output", "clouds, output=None"),
        ("return views.ANGLES, files.SEAL", "return (views.ANGLES, files).SEAL"),
    ],
)
def test_what_the_code_does_changes_it(package, old, new):
    assert changes(package / "stages/renders.py", old, new, "stages.renders")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rendering/views.py", "36", "37"),
        ("storage/files.py", "1", "2"),  # imported inside a function
        ("rendering/__init__.py", "1", "2"),  # the package around it
    ],
)
def test_an_imported_module_counts(package, file, old, new):
    assert changes(package / file, old, new, "stages.renders")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rendering/splat.py", "2", "3"),  # for type checking alone
        ("rendering/registry.py", "splat", "depth"),
        ("clouds/normals.py", "0.1", "0.2"),  # by way of a registry alone
        ("errors.py", "Exception", "ValueError"),
        ("storage/jobs.py", "1", "2"),
        ("clip/models/small.json", "16", "32"),
    ],
)
def test_others_do_not(package, file, old, new):
    assert not changes(package / file, old, new, "stages.renders")


@pytest.mark.parametrize(
    "statement",
    [
        "import pointad_core.clouds.normals",
        "import os, pointad_core.clouds.normals as n",
        "from pointad_core.clouds import normals",
        "from pointad_core.clouds.normals import RADIUS as R",
        "from pointad_core.clouds.normals import *",
        "from pointad_core import clouds; from .. import clouds; from ..clouds import normals",
        "from ..clouds.normals import RADIUS",
        "class A:\n    async def f(self):\n        with self:\n            from pointad_core.clouds import normals",
        "match 1:\n    case 1:\n        from pointad_core.clouds import normals",
        "try:\n    pass\nexcept* OSError:\n    from pointad_core.clouds import normals",
        "if not TYPE_CHECKING:\n    from pointad_core.clouds import normals",
    ],
)
def test_every_form_of_an_import_is_followed(package, statement):
    path = package / "stages/renders.py"
    write(path, path.read_text() + statement)
    assert changes(package / "clouds/normals.py", "0.1", "0.2", "stages.renders")
    assert changes(package / "clouds/__init__.py", "", "A = 1", "stages.renders")


def test_the_package_itself_counts_where_something_is_imported_from_it(package):
    write(package / "__init__.py", "A = 1")
    assert not changes(package / "__init__.py", "1", "2", "stages.renders")
    edit(package / "rendering/views.py", "ANGLES", "from pointad_core import A\nANGLES")
    assert changes(package / "__init__.py", "1", "2", "stages.renders")


def test_modules_that_import_each_other(package):
    edit(package / "storage/files.py", "SEAL", "import pointad_core.stages.renders\nSEAL")
    assert changes(package / "storage/files.py", "1", "2", "stages.renders")
    assert changes(package / "stages/renders.py", "10", "11", "storage.files")


# Names ------------------------------------------------------------------------------------------------------------


def test_names_are_a_set(package):
    both = fingerprint("rendering.views", "storage.files")
    assert both == fingerprint("storage.files", "rendering.views", "storage.files")
    assert len({both, fingerprint("rendering.views"), fingerprint("storage.files"), fingerprint("storage")}) == 4
    assert len(both) == 16
    # What a module imports is in it already.
    assert fingerprint("stages.renders") == fingerprint("stages.renders", "rendering.views")
    # Two that swap their contents are not what they were.
    views, files = package / "rendering/views.py", package / "storage/files.py"
    content = views.read_text()
    write(views, files.read_text())
    write(files, content)
    assert fingerprint("rendering.views", "storage.files") != both


def test_a_data_file_counts_by_its_bytes(package):
    names = "stages.renders", "clip/models/small.json"
    assert fingerprint(*names) != fingerprint("stages.renders")
    assert changes(package / "clip/models/small.json", "16", "32", *names)
    assert changes(package / "clip/models/small.json", " ", "  ", *names)


@pytest.mark.parametrize("name", ["stages.none", "none", "clip/models/none.json", "none.py", "clip.models"])
def test_an_unknown_name_is_refused(package, name):
    with pytest.raises(ValueError, match=rf"no module '{name}'"):
        fingerprint("stages.renders", name)


@pytest.mark.parametrize("name", ["errors", "storage.jobs", "rendering.registry"])
def test_what_no_result_depends_on_is_refused_by_name(package, name):
    with pytest.raises(ValueError, match=f"'{name}' is part of no result"):
        fingerprint(name)


# A user's own file ------------------------------------------------------------------------------------------------


@pytest.fixture
def own(package, tmp_path):
    folder = tmp_path / "of mine"
    folder.mkdir()
    (folder / "system.py").write_text("import json\nimport parts\nfrom pointad_core.rendering import views\nA = 1\n")
    (folder / "parts.py").write_text("from more.inner import B\nimport registry\nC = B\n")
    (folder / "registry.py").write_text("G = 1")
    (folder / "more").mkdir()
    (folder / "more/__init__.py").write_text("D = 1")
    (folder / "more/inner.py").write_text("from . import D\nB = D + 1\n")
    (folder / "other.py").write_text("E = 1")
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("system.py", "A = 1", "A = 2"),
        ("parts.py", "C = B", "C = -B"),
        ("registry.py", "1", "2"),
        ("more/inner.py", "+ 1", "+ 2"),
        ("more/__init__.py", "1", "2"),
        ("../pointad_core/rendering/views.py", "36", "37"),
        ("../pointad_core/rendering/__init__.py", "1", "2"),
    ],
)
def test_a_users_file_and_what_it_imports_count(own, file, old, new):
    assert changes(own / file, old, new, str(own / "system.py"))
    assert not changes(own / file, old, old + " # edited\n", str(own / "system.py"))


def test_a_users_file_counts_wherever_it_lies(own, monkeypatch):
    before = fingerprint("stages.renders", str(own / "system.py"))
    assert before != fingerprint("stages.renders")
    assert not changes(own / "other.py", "1", "2", str(own / "system.py"))
    moved = own.rename(own.with_name("moved"))
    assert fingerprint("stages.renders", str(moved / "system.py")) == before
    monkeypatch.chdir(moved.parent)
    assert fingerprint("stages.renders", "moved/system.py") == before
    monkeypatch.setenv("HOME", str(moved))
    assert fingerprint("stages.renders", "~/system.py") == before


def test_a_folder_that_is_a_package_is_followed_by_its_name(package, tmp_path):
    folder = tmp_path / "pretraining"
    folder.mkdir()
    (folder / "__init__.py").write_text("A = 1")
    (folder / "views.py").write_text("from pretraining.shapes import B")
    (folder / "shapes.py").write_text("B = 1")
    (tmp_path / "shapes.py").write_text("B = 1")
    assert changes(folder / "shapes.py", "1", "2", str(folder / "views.py"))
    assert changes(folder / "__init__.py", "1", "2", str(folder / "views.py"))
    assert not changes(tmp_path / "shapes.py", "1", "2", str(folder / "views.py"))


@pytest.mark.parametrize(("text", "line"), [("A = 1\nB = = 2\n", 2), ("A = 1\n  B = 2\n", 2), ("A = '\xff'", 1)])
def test_a_file_that_is_no_python_is_named(own, text, line):
    (own / "parts.py").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=rf"of mine/parts\.py, line {line}: "):
        fingerprint(str(own / "system.py"))


# The tree ---------------------------------------------------------------------------------------------------------

EVERYTHING = '''
"""All syntax that Python 3.11 knows."""
from __future__ import annotations
import os.path as path, sys
from . import *

x: int = 1_000
y: list[int]
(z): float = 1e-3
"""An attribute."""
a = b = 0x1F, 2j, 1.5e300 * 1e10, 1e999, b"\\x00b", ..., None, True, not False, u"\\u00e4\U0001f600", r"\\d", 'it\\'s'
a, *b = [*b, *(c for c in b if c if not c)], {**{}, "k": 1, **{"l": 2}}, {1, *a}, {k: v for k, v in b}, {}, [], ()
x += 1; x **= -2; x @= y; x //= ~3; x >>= 1; x <<= +2; x &= x | 1 ^ 2; x %= 5
t = a if b else c; u = a and b or c and not d
v = a < b <= c != d is not None in e not in f is g == h > i >= j
s = a[1], a[1:], a[:2:3], a[::, 1], a[1, *b], a[...], a.b.c[d](e)(*f, g=1, **h)
f"{a}{b!r}{c!s:>{width}.{precision}}{d = }{d!a:}{e:%H:%M}{{}}" "plain" f"{f'{a}' 'b'}{ {1: 2}[1] }{(lambda: 1)()}" f""
f"{a:{b}{c}}" f"{x:{w!r:}}{'a' if b else 'c'}{(n := 1)}"
assert (n := len(a)) > 1, "message"
del a[0], b
lambda: (yield)
lambda p, q=1, /, r=2, *args, k, l=3, **kw: (p, kw)


@decorator
@other.decorator(1)
def function(p, q=1, /, r: int = 2, *args: int, k, l=3, **kw) -> dict[str, int]:
    """What it does."""
    global x, y
    def inner():
        nonlocal_ = 1
        def innermost():
            nonlocal nonlocal_
            nonlocal_ = yield
            yield from innermost()
        return
    return p, *args


async def coroutine(*, k=None):
    async with a as b, c as (d, e):
        await b
    async for i in k:
        yield [j async for j in i if await j]
    else:
        pass
    return


class Class(Base, metaclass=Meta, **kw):
    """What it is."""
    x: int = 1
    """What x is."""

    def method(self): ...


try:
    raise ValueError(1) from None
except (A, B) as error:
    raise
except:
    pass
else:
    ...
finally:
    with (open(a) as b, open(c)):
        pass
try:
    raise
except* OSError as group:
    pass
for i, *j in a:
    if i: continue
    elif j: break
    else: pass
else:
    while True: pass
    else: pass
match a, b:
    case None | True: pass
    case -1 | 1.5 | 1 + 2j | "text" "joined" | b"bytes": pass
    case [1, *rest] | (1, _, *_) if rest: pass
    case {"key": 1, **others} | {}: pass
    case Point(0, y=1) | module.Class() | module.CONSTANT as name: pass
    case _: pass
'''


def test_every_python_gives_the_same(package, tmp_path):
    path = tmp_path / "everything.py"
    path.write_text(EVERYTHING)
    # As found by Python 3.11 to 3.14.
    assert fingerprint(str(path)) == "ac2fc579e87adb5f"


def test_none_and_nothing_are_not_the_same(package, tmp_path):
    seen = set()
    texts = """return|return None|a[:1]|a[1:]|{**a}|{a: a}|{None: a}|lambda a, *, b, c=1: a|lambda a, *, b=1, c: a
        f'{a}'|f'{a!r}'|f'{a:r}'|f'a'|('a',)|('1',)|(1,)|(True,)|(1.0,)|(1j,)|()|[f for f in a]|[f async for f in a]
        import a|from a import a|from .a import a|from ..a import a|a.b|a; b|if a: b\nc|if a:\n  b\n  c|x: int
        if a: b\nelse: c|x: int = 1|(x): int|global a|global a, b|nonlocal a|def f(a, /): 1|def f(a): 1|def f(*a): 1
        match a:\n  case None: 1|match a:\n  case True: 1|match a:\n  case False: 1|match a:\n  case _: 1"""
    texts = [text.strip() for line in texts.split("\n   ") for text in line.split("|")]
    for number, text in enumerate(texts):
        path = tmp_path / str(number) / "small.py"
        path.parent.mkdir()
        path.write_text(text)
        seen.add(fingerprint(str(path)))
    assert len(seen) == len(texts)


# The package ------------------------------------------------------------------------------------------------------

STAGES = sorted(path.stem for path in fingerprints.PACKAGE.glob("stages/[a-z]*.py"))


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_python_imports_is_followed(stage):
    command = (
        f"import sys, pointad_core.stages.{stage}; print(*(m for m in sys.modules if m.startswith('pointad_core.')))"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    modules = {module.removeprefix("pointad_core.") for module in done.stdout.split()}
    assert f"stages.{stage}" in modules
    files = {str(fingerprints._module(fingerprints.PACKAGE, module)) for module in modules}
    imported = {file.removeprefix(f"{fingerprints.PACKAGE}/") for file in files}
    imported = {file for file in imported if file not in fingerprints.LEFT_OUT and not file.endswith("/registry.py")}
    assert imported <= {file for file, _ in follow(f"stages.{stage}")}
