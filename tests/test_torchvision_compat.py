"""torchvision imports beside any torch, and nothing is declared where its own operators load."""

import subprocess
import sys

import pytest
import torch

from pointad_core import torchvision_compat


def test_import_works_in_a_fresh_process_and_a_second_call_is_harmless():
    code = """
import sys
from pointad_core.torchvision_compat import prepare_torchvision
prepare_torchvision()
prepare_torchvision()
import torchvision
prepare_torchvision()
import torch
from torchvision.transforms.functional import hflip
assert hflip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]
print(hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]


@pytest.fixture
def declared(monkeypatch, tmp_path):
    """A process that has not prepared yet and finds a torchvision of this test's own; what gets declared there."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("")
    (tmp_path / "torchvision" / "_C.so").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torchvision_compat, "_library", None)
    schemas = []

    class Recorder:
        def __init__(self, namespace, kind):
            assert (namespace, kind) == ("torchvision", "FRAGMENT")

        def define(self, schema):
            schemas.append(schema)

    monkeypatch.setattr(torch.library, "Library", Recorder)
    # Another test of this process may have declared them already.
    monkeypatch.setattr(torch.ops, "torchvision", object(), raising=False)
    return schemas


def test_nothing_is_declared_where_the_operators_load(monkeypatch, declared, tmp_path):
    loaded = []
    monkeypatch.setattr(torch.ops, "load_library", loaded.append, raising=False)
    torchvision_compat.prepare_torchvision()
    assert loaded == [str(tmp_path / "torchvision" / "_C.so")]
    assert declared == []


def test_both_operators_are_declared_once_where_they_do_not_load(monkeypatch, declared):
    def refuse(path):
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr(torch.ops, "load_library", refuse, raising=False)
    torchvision_compat.prepare_torchvision()
    torchvision_compat.prepare_torchvision()
    assert [schema.partition("(")[0] for schema in declared] == ["nms", "qnms"]


def test_nothing_is_declared_after_the_import(monkeypatch, declared):
    monkeypatch.setitem(sys.modules, "torchvision", torch)
    torchvision_compat.prepare_torchvision()
    assert declared == []
