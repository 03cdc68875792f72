"""What does not fit in memory: spilled where nobody else may look, and gone afterwards."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kubewitness.look.query import lockdown, spill

SORT = """
import os, sys, signal
from kubewitness.look.query.lockdown import locked
connection = locked([], 40 << 20)
connection.execute("CREATE TABLE t AS SELECT repeat('a secret', 20) || i AS text FROM range(600000) r(i)")
[base] = [x for x in os.listdir(os.environ["TMPDIR"]) if x.startswith(f"kubewitness-spill-{os.getpid()}-")]
path = os.path.join(os.environ["TMPDIR"], base)
print(oct(os.stat(path).st_mode & 0o777), len(os.listdir(path)) > 0, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _run(how: str, directory: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SORT, how],
        env={**os.environ, "TMPDIR": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert how == "killed" or done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_spilled_is_the_owners_and_is_gone_at_the_end(tmp_path: Path) -> None:
    """A directory of mode 0700 holds it while it is needed; nothing is left where the command was given."""
    assert _run("ended", tmp_path) == "0o700 True\n"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """A kill leaves files; the next question of the same owner removes them, and no others."""
    living = tmp_path / f"kubewitness-spill-{os.getpid()}-00"
    living.mkdir()
    (tmp_path / "kubewitness-spill-of-somebody").mkdir()
    assert _run("killed", tmp_path) == "0o700 True\n"
    assert len(list(tmp_path.iterdir())) == 3
    _run("ended", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {living.name, "kubewitness-spill-of-somebody"}


def test_a_fork_gets_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two processes never share one, nor does one remove the other's."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(spill, "_made", {})
    mine = spill.spill_directory()
    assert spill.spill_directory() == mine
    spill._remove(mine, os.getpid() + 1)
    assert Path(mine).is_dir()
    spill._remove(mine, os.getpid())
    assert not Path(mine).exists()


def test_where_nothing_can_be_written_a_question_has_to_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose root is read-only: what fits is answered, what does not is out of memory."""
    monkeypatch.setattr(spill, "_made", {})
    monkeypatch.setattr(spill, "_can_write", lambda _: False)
    connection = lockdown.locked([], 40 << 20)
    assert connection.execute("SELECT 1").fetchall() == [(1,)]
    with pytest.raises(lockdown.engine_errors()) as raised:
        connection.execute("CREATE TABLE t AS SELECT repeat('a secret', 20) || i AS text FROM range(600000) r(i)")
    meant = lockdown.told(raised.value)
    assert isinstance(meant, MemoryError)
    assert "\n" not in str(meant)
    assert "SET" not in str(meant)
    connection.close()


def test_want_of_room_names_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """That of what the engine spills, and that of temporary files; another error stays what it is."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(spill, "_made", {})
    connection = lockdown.locked([], 40 << 20)
    connection.execute("SET max_temp_directory_size = '1MB'")
    with pytest.raises(lockdown.engine_errors()) as raised:
        connection.execute("CREATE TABLE t AS SELECT repeat('a secret', 20) || i AS text FROM range(600000) r(i)")
    connection.close()
    meant = lockdown.told(raised.value)
    assert isinstance(meant, OSError)
    assert str(meant.filename).startswith(str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError, match=str(tmp_path)) as lack, spill.naming_place():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert lack.value.errno == errno.ENOSPC
    with pytest.raises(PermissionError, match="no entry"), spill.naming_place():
        raise PermissionError(errno.EACCES, "no entry")
