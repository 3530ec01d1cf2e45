"""The miniature, copied and run once for all tests of rules."""

from pathlib import Path

import pytest
import yaml
from miniature import CONFIG, Miniature, copy_workflow, snakemake


@pytest.fixture(scope="session")
def snakefile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow: nothing that a test does reaches the repository."""
    return copy_workflow(tmp_path_factory.mktemp("copy") / "workflow")


@pytest.fixture(scope="session")
def miniature(snakefile: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """The miniature, run once: everything that `all_tables` asks for."""
    directory = tmp_path_factory.mktemp("run")
    config = directory / "config.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    result = snakemake("all_tables", "--configfile", config, snakefile=snakefile, directory=directory, cores=8)
    assert result.code == 0, result.text
    return Miniature(snakefile, directory, result)
