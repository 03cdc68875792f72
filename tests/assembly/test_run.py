"""Before a server serves: directories that others may change are refused."""

from pathlib import Path

import pytest

from kubewitness.assembly.run import check_directory
from kubewitness.assembly.yamlnodes import ConfigError


def test_a_data_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    """T24: a link, a file, a directory that group or others may write to; none at all is fine, it will be made."""
    good = tmp_path / "good"
    good.mkdir(mode=0o700)
    check_directory(good)
    check_directory(tmp_path / "missing")
    (tmp_path / "link").symlink_to(good)
    (tmp_path / "file").write_bytes(b"")
    for name, message in (("link", "it is a link"), ("file", "not a directory")):
        with pytest.raises(ConfigError, match=message):
            check_directory(tmp_path / name)
    for mode in (0o770, 0o702):
        good.chmod(mode)
        with pytest.raises(ConfigError, match=f"chmod go-w {good}"):
            check_directory(good)
