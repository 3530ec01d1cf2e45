"""The frame around a stage's job: its log, its errors, its progress."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from pointad_core import jobs
from pointad_core.errors import InputError

ROOT = Path(__file__).parents[1]


def test_the_log_holds_messages_and_progress(tmp_path):
    log = tmp_path / "logs" / "stage.log"
    with jobs.logged(log):
        assert list(jobs.progress(["a", "b"], "renders")) == ["a", "b"]
        jobs.logger.warning("two labels disagree")
    text = log.read_text()
    assert "INFO started" in text
    assert "renders: scan 1/2" in text
    assert "renders: scan 2/2" in text
    assert "WARNING two labels disagree" in text
    assert "INFO finished after" in text


@pytest.mark.parametrize("error", [InputError("scan.tiff: truncated"), OSError(28, "No space left on device", "x.zip")])
def test_the_users_errors_end_the_job_with_their_message_alone(tmp_path, error):
    log = tmp_path / "stage.log"
    with pytest.raises(SystemExit) as exit_, jobs.logged(log):
        raise error
    assert str(error) in str(exit_.value.code)
    assert str(error) in log.read_text()
    assert "Traceback" not in log.read_text()


def test_our_own_errors_keep_their_traceback(tmp_path):
    log = tmp_path / "stage.log"
    with pytest.raises(ZeroDivisionError), jobs.logged(log):
        1 / 0  # noqa: B018
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()


def test_the_log_is_closed_after_the_job(tmp_path):
    log = tmp_path / "stage.log"
    with jobs.logged(log):
        pass
    before = log.read_text()
    jobs.logger.error("too late")
    assert log.read_text() == before
    assert not any(isinstance(handler, logging.FileHandler) for handler in jobs.logger.handlers)


def test_a_bar_is_drawn_on_a_terminal_only(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        list(jobs.progress(range(3), "renders"))
        assert ("renders" in stream.getvalue()) is drawn


def test_threads_are_set():
    import torch

    before = torch.get_num_threads()
    try:
        jobs.use_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, pointad_core, pointad_core.jobs; print(sorted({'torch', 'numpy', 'zarr'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
