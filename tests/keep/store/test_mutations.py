"""
The mutation matrix: every kind of file, changed in every kind of way, against our verifier and one that is not ours.

What is accepted is what theory predicts: a rollback of everything, and a log written anew by the holder of its key;
each only by a verifier with no memory. The loss of an old head is accepted as well, for every later head says more.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kubewitness.cli.main import main
from kubewitness.keep.seal.ed25519 import Ed25519Signer
from kubewitness.keep.store.layout import DataDir, cluster_dir, default_keys
from tests.keep.store.build import data_dir, raws
from tests.model import segment as model

LOG = f"logs/{cluster_dir('prod')}"
FILES = {
    "a segment": "segments/{1}",
    "the last segment": "segments/{-1}",
    "a bundle": "tiles/tile/entries/000",
    "the last bundle": "tiles/tile/entries/002.p/88",
    "a tile": "tiles/tile/0/001",
    "the last tile": "tiles/tile/0/002.p/88",
    "an upper tile": "tiles/tile/1/000.p/2",
    "the shown head": "tiles/checkpoint",
    "the last head": "heads/600",
    "an old head": "heads/300",
    "cluster.json": "cluster.json",
}
SIBLINGS = {
    "a segment": "segments/{2}",
    "the last segment": "segments/{1}",
    "a bundle": "tiles/tile/entries/001",
    "the last bundle": "tiles/tile/entries/001",
    "a tile": "tiles/tile/0/000",
    "the last tile": "tiles/tile/0/000",
    "an upper tile": "tiles/tile/0/000",
    "the shown head": "heads/500",
    "the last head": "heads/500",
    "an old head": "heads/400",
    "cluster.json": "heads/400",
}
"""What a file is swapped with."""
UNSEEN_BY_TILES = {"a segment", "the last segment", "cluster.json"}
"""What a verifier of tiles and heads does not read."""


def made(path: Path, events: list[bytes]) -> Path:
    return data_dir(path, events).path


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """The log when it had 500 Events, as somebody may have copied it."""
    return made(tmp_path_factory.mktemp("earlier") / "data", raws(0, 500))


@pytest.fixture(scope="module")
def pristine(earlier, tmp_path_factory) -> Path:
    """The log that grew from it to 600 Events, a head after every 100."""
    path = tmp_path_factory.mktemp("matrix") / "data"
    shutil.copytree(earlier, path)
    shutil.copytree(default_keys(earlier), default_keys(path))
    return made(path, raws(0, 600))


@pytest.fixture
def data(pristine, tmp_path) -> Path:
    """A copy that may be changed, its keys beside it."""
    shutil.copytree(default_keys(pristine), tmp_path / "data.keys")
    return Path(shutil.copytree(pristine, tmp_path / "data"))


def place(data: Path, name: str) -> Path:
    segments = sorted(path.name for path in (data / LOG / "segments").iterdir())
    return data / LOG / name.replace("{1}", segments[1]).replace("{2}", segments[2]).replace("{-1}", segments[-1])


def flip(at: float) -> Callable[[bytes], bytes]:
    def change(whole: bytes) -> bytes:
        place = int(at * (len(whole) - 1))
        return whole[:place] + bytes([whole[place] ^ 1 << place % 7]) + whole[place + 1 :]

    return change


CHANGES = {
    **{f"a flip at {at:.0%}": flip(at) for at in (0, 0.2, 0.4, 0.6, 0.8, 1)},
    "cut by a byte": lambda whole: whole[:-1],
    "cut to half": lambda whole: whole[: len(whole) // 2],
    "emptied": lambda whole: b"",
    "a byte more": lambda whole: whole + b"\0",
    "twice": lambda whole: whole + whole,
    "nothing but zeros": lambda whole: bytes(len(whole)),
}


class Verifiers:
    """Ours and the other one, asked about a data directory; each says whether it accepts."""

    def __init__(self, program: Path) -> None:
        self.program = program

    def ours(self, data: Path, *words: str) -> bool:
        return main(["verify", "--data", str(data), *words]) == 0

    def other(self, data: Path, remembered: Path | None = None) -> bool:
        (keys,) = default_keys(data).glob("*.vkey")
        words = ["-remembered", str(remembered)] if remembered else []
        command = [str(self.program), "-keys", str(keys), *words, str(data / LOG)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0


@pytest.fixture
def verifiers(go_verifier) -> Verifiers:
    return Verifiers(go_verifier)


def test_both_accept_what_was_written(verifiers, data, earlier, capsys):
    """The log as it is, with and without a head that was seen before."""
    assert verifiers.ours(data)
    assert verifiers.other(data)
    assert verifiers.other(data, earlier / LOG / "heads/500")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", FILES)
def test_a_changed_file_is_rejected(verifiers, data, capsys, kind, change):
    """By ours whatever it is; by the other if it is one that it reads."""
    file = place(data, FILES[kind])
    whole = file.read_bytes()
    changed = CHANGES[change](whole)
    assert changed != whole
    file.write_bytes(changed)
    assert not verifiers.ours(data)
    assert verifiers.other(data) == (kind in UNSEEN_BY_TILES)


@pytest.mark.parametrize("kind", FILES)
def test_two_files_that_changed_places_are_rejected(verifiers, data, capsys, kind):
    """Each under the name of the other."""
    one, two = place(data, FILES[kind]), place(data, SIBLINGS[kind])
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert not verifiers.ours(data)
    assert verifiers.other(data) == (kind in UNSEEN_BY_TILES - {"cluster.json"})


@pytest.mark.parametrize("kind", FILES)
def test_a_deleted_file_is_rejected(verifiers, data, capsys, kind):
    """But for an old head, of which nothing that was signed later says that it was there."""
    place(data, FILES[kind]).unlink()
    is_old = kind == "an old head"
    assert verifiers.ours(data) == is_old
    assert verifiers.other(data) == (is_old or kind in UNSEEN_BY_TILES)


def by_a_link(file: Path) -> None:
    """The same bytes, but somewhere else."""
    file.rename(file.with_name("moved"))
    file.symlink_to("moved")


def by_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("replaced", [by_a_link, by_a_pipe, by_a_folder])
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_file_is_rejected_and_never_waited_for(data, capsys, kind, replaced):
    """T24: a link, a pipe or a folder in the place of a file is a finding (3 or 4), not a failure."""
    replaced(place(data, FILES[kind]))
    assert main(["verify", "--data", str(data)]) in (3, 4)


@pytest.mark.parametrize("name", ["segments", "tiles", "heads", "tiles/tile/0"])
def test_a_link_in_the_place_of_a_folder_is_rejected(data, capsys, name):
    """It is not followed."""
    by_a_link(data / LOG / name)
    assert main(["verify", "--data", str(data)]) in (3, 4)


OLD = {
    "the shown head": "tiles/checkpoint",
    "the last head": "heads/500",
    "the last bundle": "tiles/tile/entries/001.p/244",
    "the last tile": "tiles/tile/0/001.p/244",
}


@pytest.mark.parametrize("kind", OLD)
def test_a_file_of_an_earlier_state_is_rejected(verifiers, data, earlier, capsys, kind):
    """Put back in the place of the one that is there now."""
    shutil.copy(earlier / LOG / OLD[kind], place(data, FILES[kind]))
    assert not verifiers.ours(data)
    assert not verifiers.other(data)


def remembered(verifiers: Verifiers, data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Let both see the log as it is: our state file, and the head for the other."""
    state, head = tmp_path / "state.json", tmp_path / "head"
    assert verifiers.ours(data, "--state", str(state))
    shutil.copy(data / LOG / "tiles/checkpoint", head)
    return state, head


def another(events: list[bytes]) -> list[bytes]:
    return [raw.replace(b"Panic", b"Calm!") if n == 7 else raw for n, raw in enumerate(events)]


def roll_back(data: Path, earlier: Path) -> None:
    shutil.rmtree(data)
    shutil.copytree(earlier, data)


def write_anew(data: Path, earlier: Path) -> None:
    shutil.rmtree(data)
    made(data, another(raws(0, 600)))


@pytest.mark.parametrize("attack", [roll_back, write_anew])
def test_only_memory_finds_a_rollback_and_a_rewrite_by_the_keys_holder(
    verifiers, data, earlier, tmp_path, capsys, attack
):
    """These two are accepted by who has no memory, and by nobody else."""
    state, head = remembered(verifiers, data, tmp_path)
    attack(data, earlier)
    assert verifiers.ours(data)
    assert verifiers.other(data)
    assert not verifiers.ours(data, "--state", str(state))
    assert not verifiers.other(data, head)


def by_another_key(data: Path, earlier: Path) -> None:
    """Write all anew, sign with a key of one's own."""
    shutil.rmtree(data)
    keys = {path: path.read_bytes() for path in default_keys(data).iterdir()}
    shutil.rmtree(default_keys(data))
    made(data, another(raws(0, 600)))
    for path, content in keys.items():
        path.write_bytes(content)


def keeping_old_heads(data: Path, earlier: Path) -> None:
    """Write all anew with the true key, and leave the heads that are known to others."""
    heads = {path.name: path.read_bytes() for path in (data / LOG / "heads").iterdir()}
    shutil.rmtree(data)
    made(data, another(raws(0, 600)))
    for name in ("100", "300"):
        (data / LOG / "heads" / name).write_bytes(heads[name])


def events_alone(data: Path, earlier: Path) -> None:
    """Change the Events and all that follows from them but the heads."""
    other = data.parent / "other"
    shutil.copytree(default_keys(data), default_keys(other))
    made(other, another(raws(0, 600)))
    for name in ("segments", "tiles/tile"):
        shutil.rmtree(data / LOG / name)
        shutil.copytree(other / LOG / name, data / LOG / name)


def shortened(data: Path, earlier: Path) -> None:
    """Go back to an earlier state, but forget to take the last heads along."""
    heads = {path.name: path.read_bytes() for path in (data / LOG / "heads").iterdir()}
    roll_back(data, earlier)
    (data / LOG / "heads" / "600").write_bytes(heads["600"])


@pytest.mark.parametrize("attack", [by_another_key, keeping_old_heads, events_alone, shortened])
def test_half_an_attack_is_rejected_without_memory(verifiers, data, earlier, capsys, attack):
    """Whatever is forgotten gives it away."""
    attack(data, earlier)
    assert not verifiers.ours(data)
    assert not verifiers.other(data)


def test_a_key_of_the_same_name_is_not_the_key(verifiers, data, capsys):
    """Ours and the other one go by the key, not by its name."""
    origin = DataDir(data).clusters()["prod"].origin
    (vkey,) = default_keys(data).glob("*.vkey")
    vkey.write_text(f"{Ed25519Signer.make(origin, b'o' * 32).key}\n")
    assert not verifiers.ours(data)
    assert not verifiers.other(data)


def test_the_log_of_another_cluster_is_not_this_one(data, capsys):
    """Put in its place, with a cluster.json that says so, it is refused even by who trusts the keys of both."""
    other = data_dir(data, raws(0, 100), cluster="other")
    keys = [f"--key={path}" for path in default_keys(data).glob("*.vkey")]
    assert main(["verify", "--data", str(data), *keys]) == 0
    here, there = data / LOG, other.log_path("other")
    shutil.rmtree(here)
    shutil.copytree(there, here)
    meta = (there / "cluster.json").read_text()
    (here / "cluster.json").write_text(meta.replace('"cluster":"other"', '"cluster":"prod"'))
    assert main(["verify", "--data", str(data), *keys]) == 3
    assert "is not what is written for a log of this name" in capsys.readouterr().out


def test_the_reader_of_the_formats_page_finds_the_same_leaves(data):
    """The way from lines to leaves, which the other verifier does not go, is gone by a second reader."""
    found = model.store(data / LOG / "segments")
    bundles = b"".join((data / LOG / "tiles/tile/entries" / name).read_bytes() for name in ("000", "001", "002.p/88"))
    assert b"".join(b"\0\x21" + entry for *_, entry in found) == bundles
    assert [line for line, *_ in found] == raws(0, 600)
