"""Files of trained prompts: whole or not at all, the same bytes again, and damage noticed."""

import json
import re
import resource

import numpy as np
import pytest
import torch
from safetensors import safe_open

from pointad_core.errors import InputError
from pointad_core.storage.prompt_files import read_prompts, read_provenance, write_prompts


@pytest.fixture
def prompts():
    shapes = {"context_normal": (12, 8), "context_abnormal": (12, 8), "deep": (3, 4, 8), "embeddings": (2, 16)}
    generator = torch.Generator().manual_seed(1)
    return {f"rendering.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_prompts_come_back_with_what_made_them(prompts, tmp_path):
    path, again = tmp_path / "prompts.safetensors", tmp_path / "again.safetensors"
    for place in (path, again):
        write_prompts(place, prompts, {"code": "abc", "seed": 3})
    assert path.read_bytes() == again.read_bytes()
    found = read_prompts(path)
    assert found.keys() == prompts.keys()
    assert all(torch.equal(found[name], part) for name, part in prompts.items())
    assert read_provenance(path) == {"code": "abc", "seed": 3}
    with safe_open(path, framework="np") as file:
        provenance = json.loads(file.metadata()["provenance"])
    assert (provenance["code"], provenance["seed"]) == ("abc", 3)


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path):
    path = tmp_path / "prompts.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A limit on the size of files stands for the disk's end.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=re.escape(str(path))):
            write_prompts(path, {"rendering.embeddings": torch.zeros(2, 1000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_damaged_prompts_are_refused(prompts, tmp_path):
    output = tmp_path / "prompts.safetensors"
    write_prompts(output, prompts, {"code": "abc"})
    content = output.read_bytes()
    rng = np.random.default_rng(1)
    cuts = [content[:length] for length in rng.integers(0, len(content), 20)]
    flips = [
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in (*rng.integers(0, len(content), 50), -2)
    ]
    for damaged in (b"", *cuts, *flips):
        output.write_bytes(damaged)
        for read in (read_prompts, read_provenance):
            with pytest.raises(InputError, match=r"prompts\.safetensors: the prompts are damaged"):
                read(output)
    for read in (read_prompts, read_provenance):
        with pytest.raises(InputError, match="no such prompts"):
            read(tmp_path / "none")
