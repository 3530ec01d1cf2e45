"""What libraries print reaches the log, also where an error follows."""

from pathlib import Path

import pytest

from pointad_core.errors import InputError, printed


def test_open3ds_warnings_reach_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys) -> None:
    import open3d as o3d

    path = tmp_path / "part.pcd"
    path.write_text("hello\n")
    with pytest.raises(InputError), printed(path):
        o3d.io.read_point_cloud(path, format="pcd")
        raise InputError
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert f"{path}: [Open3D WARNING] Read PCD failed: unable to parse header." in caplog.text
    assert "\x1b" not in caplog.text
    assert capsys.readouterr().out == ""
    caplog.clear()
    with printed(path):
        pass
    assert not caplog.records
