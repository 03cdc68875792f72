"""Files on a real disk do what the simulated ones are believed to do, and no link is followed."""

import os
from functools import partial
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskAppender, DiskDirectory, discard, read_whole, write_lightly, write_whole


@pytest.fixture
def here(tmp_path: Path):
    """An empty directory."""
    with DiskDirectory.at(tmp_path) as directory:
        yield directory


def test_a_file_grows_and_is_read_meanwhile(here, tmp_path):
    """What was appended is seen at once; reading past the end gives what there is."""
    with here.create("a") as file, here.open("a") as reader:
        assert (reader.size(), reader.read_at(0, 10)) == (0, b"")
        file.append(b"one")
        file.append(b"two")
        file.sync()
        assert (reader.size(), reader.read_at(2, 2), reader.read_at(4, 10)) == (6, b"et", b"wo")
        file.cut(4)
        file.append(b"!")
        assert reader.read_at(0, 9) == b"onet!"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_short_write_is_continued(here, monkeypatch):
    """The kernel may take less than it is given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:2]))
    with here.create("a") as file:
        file.append(b"a longer text")
    assert read_whole(here, "a") == b"a longer text"


def test_a_short_read_is_continued(here, monkeypatch):
    """And may give less than it is asked for."""
    write_whole(here, "a", b"a longer text")
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: real(fd, min(length, 3), at))
    assert read_whole(here, "a") == b"a longer text"


def test_a_file_is_made_once(here):
    """A name that is taken, by a file or a link, is not written to."""
    here.create("a").close()
    with pytest.raises(FileExistsError):
        here.create("a")


def test_links_pipes_and_paths_are_refused(here, tmp_path):
    """Whatever a name leads to elsewhere is not opened, made, locked or entered."""
    (tmp_path / "target").write_text("secret")
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "pipe")
    for call in (here.open, here.create, here.lock, here.enter):
        with pytest.raises(OSError, match="link"):
            call("link")
    with pytest.raises(OSError, match="not a plain file"):
        here.open("pipe")
    for name in ("", ".", "..", "a/b", "/etc/passwd", "a\0b"):
        for call in (here.open, here.create, here.lock, here.enter, here.remove):
            with pytest.raises(OSError, match="not a plain name"):
                call(name)


def test_an_error_says_where(here, tmp_path):
    """By the whole path, for there are files of one name in every store."""
    (tmp_path / "a").write_text("")
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o777)
    for call in (partial(here.enter, "a"), partial(here.enter, "d"), partial(here.look, "no"), partial(here.open, "d")):
        with pytest.raises(OSError, match=rf"{tmp_path}/(a|d|no)'$"):
            call()


def test_a_whole_file_replaces_another(here, tmp_path):
    """Nothing else is left, also of an attempt before."""
    (tmp_path / "a.new").write_bytes(b"half")
    write_whole(here, "a", b"1")
    write_whole(here, "a", b"2")
    assert (here.names(), read_whole(here, "a")) == (["a"], b"2")
    discard(here, "a")
    discard(here, "a")
    assert here.names() == []


def test_a_whole_file_costs_the_same_in_a_large_directory(here, monkeypatch):
    """Nothing lists the directory: one in which a file is put every second has millions."""
    monkeypatch.setattr(DiskDirectory, "names", lambda self: pytest.fail("it was listed"))
    write_whole(here, "a", b"1")
    write_lightly(here, "a", b"2")
    discard(here, "a")


def test_the_steps_of_a_whole_file_are_in_order(here, monkeypatch):
    """Its bytes last before it has its name, and its name before anybody relies on it."""
    steps = []
    monkeypatch.setattr(DiskAppender, "sync", lambda self: steps.append("file"))
    monkeypatch.setattr(DiskDirectory, "replace", lambda self, old, new: steps.append("name"))
    monkeypatch.setattr(DiskDirectory, "sync", lambda self: steps.append("directory"))
    write_whole(here, "a", b"1")
    assert steps == ["file", "name", "directory"]


def test_a_lock_is_one_holders(here):
    """Until it is closed; closing twice is nothing."""
    lock = here.lock("lock")
    with pytest.raises(BlockingIOError):
        here.lock("lock")
    lock.close()
    lock.close()
    here.lock("lock").close()
