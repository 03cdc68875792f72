"""`verify` from the command line: data directories, served logs, keys, memory, exit codes."""

import errno
import json
import os
import re
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kubewitness.keep.seal.ed25519 import Ed25519Signer
from kubewitness.keep.store import verify_data
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.memory import Memory
from kubewitness.keep.store.verify import Kind
from kubewitness.keep.store.verify_data import LogVerdict
from tests.keep.store.build import data_dir, raws
from tests.keep.store.test_bundle import special


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A data directory of 600 Events that nobody changes."""
    return data_dir(tmp_path_factory.mktemp("verify") / "data", raws(0, 600)).path


@pytest.fixture
def data(pristine, tmp_path) -> Path:
    """A copy, its keys beside it."""
    shutil.copytree(default_keys(pristine), tmp_path / "data.keys")
    return Path(shutil.copytree(pristine, tmp_path / "data"))


def log_of(data: Path) -> Path:
    return DataDir(data).log_path("prod")


def key_of(data: Path) -> str:
    return str(KeyDir(default_keys(data)).verifiers("prod")[0])


def kinds(result) -> set[str]:
    report = json.loads(result.out)
    assert report["exitCode"] == result.code
    return {f["kind"] for log in report["logs"] for f in log["findings"]} | {f["kind"] for f in report["findings"]}


def test_a_sound_store(run, data):
    """Says what was checked, by which key, and what it cannot know; ends with 0."""
    result = run("verify", "--data", str(data))
    assert result.code == 0
    assert result.lines[0] == "prod: sound"
    assert "600 events" in result.lines[1]
    assert "600 read; 6 heads met" in result.out
    assert f"key    {'+'.join(key_of(data).split('+')[:2])}" in result.lines[3]
    assert "--state" in result.err
    assert "--key" in result.err
    assert run("verify", str(data)).out == result.out


def test_a_change_is_named(run, data):
    """Exit code 3; the file and the Events are named."""
    file = log_of(data) / "tiles/tile/0/001"
    file.write_bytes(bytes(32) + file.read_bytes()[32:])
    result = run("verify", "--data", str(data))
    assert result.code == 3
    assert result.lines[0] == "prod: VIOLATED, 1 finding"
    assert "wrong-tile: tiles/tile/0/001" in result.out
    assert result.lines[-1].endswith("(event 256)")


def make_nothing(data: Path) -> None:
    shutil.rmtree(data)
    data.mkdir()


def leave_no_key(data: Path) -> None:
    shutil.rmtree(default_keys(data))


def make_unsigned(data: Path) -> None:
    shutil.rmtree(log_of(data) / "tiles")
    shutil.rmtree(log_of(data) / "heads")


def make_other_key(data: Path) -> None:
    log = next(iter(DataDir(data).clusters().values()))
    other = Ed25519Signer.make(log.origin, b"o" * 32)
    (vkey,) = default_keys(data).glob("*.vkey")
    vkey.write_text(f"{other.key}\n")


NOTHINGS = {
    "an empty directory": (make_nothing, 4, set()),
    "no key": (leave_no_key, 4, {"no-key"}),
    "nothing signed": (make_unsigned, 4, {"unsigned"}),
    "no head, though there are tiles": (lambda d: make_headless(d), 3, {"heads-gone"}),
    "another key": (make_other_key, 3, {"unknown-key"}),
    "a tile is missing": (lambda d: (log_of(d) / "tiles/tile/0/001").unlink(), 4, {"missing-tile"}),
    "all tiles are missing": (lambda d: shutil.rmtree(log_of(d) / "tiles/tile"), 4, {"missing-tile"}),
    "the first Events are gone": (lambda d: first_segment(d).unlink(), 3, {"pruned"}),
    "no segments": (lambda d: shutil.rmtree(log_of(d) / "segments"), 3, {"shrunk"}),
    "nobody knows whose log it is": (lambda d: (log_of(d) / "cluster.json").unlink(), 3, {"refused"}),
}


def make_headless(data: Path) -> None:
    shutil.rmtree(log_of(data) / "heads")
    (log_of(data) / "tiles/checkpoint").unlink()


def first_segment(data: Path) -> Path:
    return min((log_of(data) / "segments").iterdir())


@pytest.mark.parametrize("name", NOTHINGS)
def test_nothing_to_check_is_never_ok(run, data, name):
    """Each way of having nothing, or not all, to check has its own result, and none is 0."""
    change, code, wanted = NOTHINGS[name]
    change(data)
    result = run("verify", "--data", str(data), "-o", "json")
    assert (result.code, wanted <= kinds(result)) == (code, True), result.out
    assert kinds(result) == wanted or name == "no segments"
    assert json.loads(result.out)["result"] == {3: "violated", 4: "incomplete"}[code]


def test_an_unsigned_tail_is_told_and_old_ones_are_incomplete(run, tmp_path):
    """What came just now may wait for its signature; what came long ago may not."""
    data = data_dir(tmp_path / "data", raws(0, 140), unsigned=40).path
    young = run("verify", "--data", str(data), "-o", "json")
    assert young.code == 0
    assert json.loads(young.out)["logs"][0]["unsigned"] == 40
    assert "40 events after the head, not signed yet" in run("verify", "--data", str(data)).out
    old = run("verify", "--data", str(data), "--max-unsigned", "0", "-o", "json")
    assert old.code == 4
    (finding,) = json.loads(old.out)["logs"][0]["findings"]
    assert (finding["kind"], finding["first"], finding["end"]) == ("unsigned", 100, 140)


def test_what_was_removed_is_told(run, tmp_path):
    """Proofs hold over blanked Events and tombstones, so that who blanked all would look sound; it is said, with 4."""
    data = special(tmp_path / "data").path
    result = run("verify", "--data", str(data), "-o", "json")
    assert (result.code, kinds(result)) == (4, {"removed"})
    (log,) = json.loads(result.out)["logs"]
    assert log["removed"] == {
        "event expired": 1,
        "requestObject expired": 1,
        "requestURI.query dropped": 1,
        "user redacted": 1,
    }
    assert "event expired 1, requestObject expired 1" in run("verify", "--data", str(data)).out
    case = tmp_path / "case.zip"
    assert run("export", "--data", str(data), "--evidence", str(case), "--event", "0-5").code == 0
    result = run("verify", str(case))
    assert result.code == 4
    assert ": incomplete\n" in result.out
    assert "  LACKS 3 Events were recorded there, and this was removed; nothing says by whom: event e" in result.out
    assert len(json.loads(run("verify", str(case), "-o", "json").out)["lacking"]) == 1


def test_memory_finds_a_rollback_and_a_rewrite(run, data, tmp_path):
    """Both look sound without memory, and neither does with it; the memory is not changed by them."""
    state = tmp_path / "state.json"
    assert run("verify", "--data", str(data), "--state", str(state)).code == 0
    before = state.read_bytes()
    for events in (raws(0, 300), [raw.replace(b"Panic", b"Calm!") for raw in raws(0, 600)]):
        shutil.rmtree(data)
        data_dir(data, events)  # with the keys that are there
        assert run("verify", "--data", str(data)).code == 0
        attacked = run("verify", "--data", str(data), "--state", str(state), "-o", "json")
        assert attacked.code == 3
        assert kinds(attacked) & {"shrunk", "fork", "changed"}
        assert state.read_bytes() == before


def test_a_head_that_was_kept_elsewhere_is_memory_too(run, data, tmp_path):
    """It must be met; a log that was written anew does not lead to it, and a head that nobody signed binds nobody."""
    kept = tmp_path / "kept"
    shutil.copy(log_of(data) / "heads/300", kept)
    assert run("verify", "--data", str(data), "--head", str(kept)).code == 0
    forged = tmp_path / "forged"
    text = kept.read_bytes()
    forged.write_bytes(text[:-20] + (b"B" if text[-20:-19] == b"A" else b"A") + text[-19:])  # base64 all the same
    assert run("verify", "--data", str(data), "--head", str(forged)).code == 3
    assert run("verify", "--data", str(data), "--head", __file__).code == 2
    shutil.rmtree(data)
    data_dir(data, [raw.replace(b"Panic", b"Calm!") for raw in raws(0, 600)])
    result = run("verify", "--data", str(data), "--head", str(kept), "-o", "json")
    assert (result.code, kinds(result)) == (3, {"fork", "changed"} & kinds(result))
    assert run("verify", "--data", str(data)).code == 0


@pytest.mark.parametrize("is_shown", [True, False])
def test_a_head_that_was_taken_away_is_missed(run, data, tmp_path, is_shown):
    """Shown or remembered, it says so; the Events still lead to it, and the key's holder could sign others."""
    state = str(tmp_path / "state.json")
    assert run("verify", "--data", str(data), "--state", state).code == 0
    newest = max(int(one.name) for one in (log_of(data) / "heads").iterdir())
    (log_of(data) / "heads" / str(newest)).unlink()
    if not is_shown:
        shutil.copy(log_of(data) / "heads/300", log_of(data) / "tiles/checkpoint")
    result = run("verify", "--data", str(data), "--state", state)
    assert result.code == 3
    told = f"tiles/checkpoint: is a head of {newest} Events, and heads/{newest} is not there"
    assert (told if is_shown else f"heads/{newest}: is remembered and not there") in " ".join(result.out.split())


@pytest.mark.parametrize(("code", "told"), [(5, "prod: sound"), (3, "prod: VIOLATED")])
def test_a_verdict_that_cannot_be_remembered_is_told(run, data, tmp_path, monkeypatch, code, told):
    """A full disk under the state file hides nothing that was found."""
    if code == 3:
        shutil.copy(log_of(data) / "heads/300", log_of(data) / "heads/17")
    monkeypatch.setattr(Memory, "save", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    monkeypatch.setattr(LogVerdict, "may_be_remembered", True)
    result = run("verify", "--data", str(data), "--state", str(tmp_path / "state.json"))
    assert result.code == code
    assert told in result.out
    assert "state.json: not remembered: No space left" in result.err


def test_memory_goes_with_the_log(run, tmp_path):
    """The remembered head is met in the grown log, and the larger one takes its place."""
    state = str(tmp_path / "state.json")
    data = data_dir(tmp_path / "data", raws(0, 200))
    assert run("verify", "--data", str(data.path), "--state", state).code == 0
    data_dir(tmp_path / "data", raws(0, 400))
    result = run("verify", "--data", str(data.path), "--state", state, "-o", "json")
    assert result.code == 0
    (log,) = json.loads(result.out)["logs"]
    assert (log["remembered"], log["head"]["size"]) == (200, 400)
    assert "\\n400\\n" in Path(state).read_text()


def test_a_log_that_vanished_is_remembered(run, data, tmp_path):
    """An empty directory where a log was is a violation for who remembers it."""
    state = str(tmp_path / "state.json")
    run("verify", "--data", str(data), "--state", state)
    make_nothing(data)
    result = run("verify", "--data", str(data), "--state", state, "-o", "json")
    assert (result.code, kinds(result)) == (3, {"shrunk"})


def test_keys_are_trusted_on_first_use(run, data, tmp_path):
    """A key that somebody put beside the data later is not believed; --key says otherwise."""
    state = str(tmp_path / "state.json")
    run("verify", "--data", str(data), "--state", state)
    shutil.rmtree(data)
    shutil.rmtree(default_keys(data))
    data_dir(data, raws(0, 600))
    result = run("verify", "--data", str(data), "--state", state, "-o", "json")
    assert (result.code, "unknown-key" in kinds(result)) == (3, True)
    assert run("verify", "--data", str(data)).code == 0


def test_key_is_a_text_or_a_file(run, data, tmp_path):
    """Both pin; another key is refused, and so is what is no key."""
    key = key_of(data)
    (tmp_path / "key").write_text(f"# from the auditor\n{key}\n")
    for given in (key, str(tmp_path / "key")):
        result = run("verify", "--data", str(data), "--key", given, "-o", "json")
        assert result.code == 0
        assert json.loads(result.out)["keysPinned"]
    other = str(Ed25519Signer.make("kubewitness.io/log/prod", b"o" * 32).key)
    assert run("verify", "--data", str(data), "--key", other).code == 3
    assert run("verify", "--data", str(data), "--key", key[:-3]).code == 2
    assert run("verify", "--data", str(data), "--key", __file__).code == 2
    forgotten = run("verify", "--data", str(data), "--key", "prod.vkey")
    assert forgotten.code == 2
    assert "and there is no file of that name" in forgotten.err


def test_wrong_usage(run, data, tmp_path):
    """Each is one sentence and exit code 2."""
    for flag, value in (("--max-unsigned", "nan"), ("--max-unsigned", "-1"), ("--head", str(tmp_path / "no"))):
        result = run("verify", "--data", str(data), flag, value)
        assert result.code == 2
        assert result.err.startswith(f"kubewitness: error: {flag} {value}: ")
    both = (str(data), "--data", str(tmp_path))
    for words in ((), ("--data", str(tmp_path / "no")), ("--data", str(data), "--cluster", "x"), (__file__,), both):
        result = run("verify", *words)
        assert result.code == 2
        assert len(result.err.splitlines()) == 1
    (tmp_path / "state").write_text("{}")
    assert run("verify", "--data", str(data), "--state", str(tmp_path / "state")).code == 2
    assert run("verify", "--data", str(data), "--state", str(tmp_path / "no" / "state")).code == 2


def test_other_processes_find_the_same(run, data, monkeypatch):
    """A large store is read by several processes; the verdicts are the same, for sound and damaged ones."""
    names = sorted((log_of(data) / "segments").iterdir())
    for change in (lambda: None, lambda: flip(names[2]), lambda: names[1].unlink()):
        change()
        alone = run("verify", "--data", str(data), "-o", "json")
        monkeypatch.setattr(verify_data, "PARALLEL_BYTES", 0)
        monkeypatch.setattr(verify_data, "processors", lambda: 2)
        together = run("verify", "--data", str(data), "-o", "json")
        monkeypatch.undo()
        assert together.out == alone.out
        assert together.code == alone.code


def test_where_one_processor_may_be_used_no_other_process_reads(run, data, monkeypatch):
    """Whatever the machine has."""
    monkeypatch.setattr(verify_data, "PARALLEL_BYTES", 0)
    monkeypatch.setattr(verify_data, "in_processes", None)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert run("verify", "--data", str(data)).code == 0
    finally:
        os.sched_setaffinity(0, before)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, keeps connections, says nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def served(path: Path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(path)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tiles"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_served_log(run, data, tmp_path):
    """Tiles over HTTP lead to the signed head; without a key that is not known."""
    state = str(tmp_path / "state.json")
    with served(log_of(data)) as url:
        result = run("verify", url, "--key", key_of(data), "--state", state, "-o", "json")
        assert result.code == 0, result.out
        assert json.loads(result.out)["logs"][0]["head"]["size"] == 600
        assert kinds(run("verify", url, "-o", "json")) == {"no-key"}
        assert run("verify", url, "--state", state).code == 0  # the key is remembered
        assert run("verify", f"{url}/tile", "--key", key_of(data)).code == 4
    assert run("verify", url, "--key", key_of(data)).code == 5


@pytest.mark.parametrize("known", [1, 256, 257, 520])
def test_a_served_log_is_followed_from_what_is_remembered(run, tmp_path, known):
    """Whatever the size that is remembered, the log goes on from there or is refused."""
    state = tmp_path / "state.json"
    data = data_dir(tmp_path / "data", raws(0, known)).path
    with served(log_of(data)) as url:
        assert run("verify", url, "--key", key_of(data), "--state", str(state)).code == 0
    data_dir(tmp_path / "data", raws(0, 600), per_head=600)
    with served(log_of(data)) as url:
        result = run("verify", url, "--state", str(state), "-o", "json")
        assert result.code == 0, result.out
        (log,) = json.loads(result.out)["logs"]
        assert (log["remembered"], log["head"]["size"]) == (known, 600)
    other = [raw.replace(b"Panic", b"Calm!") if n == known - 1 else raw for n, raw in enumerate(raws(0, 640))]
    shutil.rmtree(data)
    data_dir(data, other, per_head=640)
    with served(log_of(data)) as url:
        result = run("verify", url, "--state", str(state), "-o", "json")
        assert result.code == 3, result.out
        assert kinds(result) & {"changed", "wrong-tile"}


SERVED = {
    "a tile": (lambda log: flip(log / "tiles/tile/0/001"), 3, "wrong-tile"),
    "a bundle": (lambda log: flip_at(log / "tiles/tile/entries/001", 4), 3, "changed"),
    "a length in a bundle": (lambda log: flip_at(log / "tiles/tile/entries/001", 35), 3, "wrong-tile"),
    "an upper tile": (lambda log: flip(log / "tiles/tile/1/000.p/2"), 3, "wrong-tile"),
    "a tile is gone": (lambda log: (log / "tiles/tile/0/001").unlink(), 4, "missing-tile"),
    "a bundle is gone": (lambda log: (log / "tiles/tile/entries/001").unlink(), 4, "missing-tile"),
    "the signature": (lambda log: flip_at(log / "tiles/checkpoint", -20), 3, "bad-head"),
    "an old head": (lambda log: shutil.copy(log / "heads/300", log / "tiles/checkpoint"), 3, "shrunk"),
    "no head": (lambda log: (log / "tiles/checkpoint").unlink(), 4, "empty"),
}


def flip_at(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", SERVED)
def test_a_served_log_that_was_changed(run, data, tmp_path, name):
    """Each change of what is served is found."""
    state = str(tmp_path / "state.json")
    run("verify", "--data", str(data), "--state", state)
    change, code, kind = SERVED[name]
    change(log_of(data))
    if name != "an old head":
        Path(state).unlink()
    with served(log_of(data)) as url:
        result = run("verify", url, "--key", key_of(data), "--state", state, "-o", "json")
    assert (result.code, kind in kinds(result)) == (code, True), result.out


def test_the_page_names_every_kind_of_finding():
    """docs/reference/verify-findings.md has each with its exit code."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "verify-findings.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| ([34]) \|", page, re.MULTILINE))
    assert rows == {kind.value: "3" if kind.is_violation else "4" for kind in Kind}
