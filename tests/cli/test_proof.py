"""`proof` and `export` from the command line, and `verify` of what they wrote."""

import errno
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kubewitness.cli import verify
from kubewitness.cli.errors import ExitCode, UserError
from kubewitness.keep.store.bundle import Bundle
from kubewitness.keep.store.bundle_verify import check_proof, open_checkpoint, parse_keys
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from tests.keep.store.build import data_dir, recorded

EVENTS = [*recorded("audit-metadata")[:1], *recorded()[:299]]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data directory of 300 recorded Events, 280 of them signed."""
    return data_dir(tmp_path_factory.mktemp("proof") / "data", EVENTS, unsigned=20, segment_bytes=20_000).path


def keys(data: Path) -> str:
    return "".join(f"{key}\n" for key in KeyDir(default_keys(data)).verifiers("prod"))


def audit_id(raw: bytes) -> str:
    return json.loads(raw)["auditID"]


def test_a_proof_by_index(run, data, tmp_path):
    """A tlog-proof on standard output or in a file; with the Event's bytes it is all that one needs."""
    result = run("proof", "123", "--data", str(data))
    assert result.code == 0
    assert result.lines[0] == "c2sp.org/tlog-proof@v1"
    assert "index 123" in result.lines
    proof = result.out.encode()
    _, size, root, _ = open_checkpoint(proof.partition(b"\n\n")[2], parse_keys(keys(data)))
    assert size == 280
    assert check_proof(EVENTS[123], proof, size, root)[0] == 123
    assert run("proof", "123", "--data", str(data), "-o", str(tmp_path / "p")).out == ""
    assert (tmp_path / "p").read_bytes() == proof


def test_a_proof_by_file_or_audit_id(run, data, tmp_path):
    """The Event of a file is found by its exact bytes, with or without kind; an auditID must be that of one Event."""
    proof = run("proof", "123", "--data", str(data)).out
    file = tmp_path / "event.json"
    for raw in (
        EVENTS[123],
        EVENTS[123] + b"\n",
        EVENTS[123].replace(b'"kind":"Event","apiVersion":"audit.k8s.io/v1",', b""),
    ):
        file.write_bytes(raw)
        assert run("proof", str(file), "--data", str(data)).out == proof
    ids = [audit_id(raw) for raw in EVENTS]
    alone = next(n for n, name in enumerate(ids[:280]) if ids.count(name) == 1)
    assert f"index {alone}\n" in run("proof", ids[alone], "--data", str(data)).out
    twice = next(name for name in ids if ids.count(name) > 1)
    result = run("proof", twice, "--data", str(data))
    assert result.code == 2
    assert f"  {ids.index(twice)}  RequestReceived" in result.err or f"  {ids.index(twice)}  Response" in result.err


def test_what_cannot_be_proved(run, data, tmp_path):
    """Each has its exit code and one sentence."""
    for words, code in {("290",): 4, ("no-such-id",): 2, ("123", "--cluster", "x"): 2, ("300000",): 4}.items():
        result = run("proof", *words, "--data", str(data))
        assert (result.code, result.out) == (code, ""), words
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    tile = DataDir(copy).log_path("prod") / "tiles/tile/0/001.p/24"
    tile.write_bytes(bytes(len(tile.read_bytes())))
    result = run("proof", "123", "--data", str(copy))
    assert (result.code, "`verify` says what is wrong" in result.err) == (3, True)
    shutil.rmtree(tile.parents[2])
    assert run("proof", "123", "--data", str(copy)).code == 4


def test_an_archive_and_a_directory_hold_the_same(run, data, tmp_path):
    """Both are checked by `verify` and by the program they carry; the archive unpacks into one folder."""
    words = ("--event", "5", "--event", "10-12", "--event", audit_id(EVENTS[20]), "--data", str(data))
    for out in (tmp_path / "case.zip", tmp_path / "other"):
        result = run("export", "--evidence", str(out), *words)
        assert result.code == 0, result.err
        verified = run("verify", str(out))
        assert verified.code == 0, verified.out
        assert verified.lines[0] == f"{out}: sound"
        assert "--key" in verified.err
        report = json.loads(run("verify", str(out), "--key", keys(data).strip(), "-o", "json").out)
        assert (report["result"], report["keysPinned"]) == ("sound", True)
        assert out.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        archive.extractall(tmp_path)
    done = subprocess.run([sys.executable, "-I", "-S", str(tmp_path / "case" / "verify.py")], check=False)
    assert done.returncode == 0
    indexes = json.loads((tmp_path / "case" / "about.json").read_text())["events"]
    assert indexes == sorted(
        {5, 10, 11, 12} | {n for n, raw in enumerate(EVENTS) if audit_id(raw) == audit_id(EVENTS[20])}
    )
    for index in indexes:
        assert (tmp_path / "case" / "events" / f"{index:020}.json").read_bytes() == EVENTS[index]


@pytest.mark.parametrize("name", ["case", "case.zip"])
def test_of_an_export_that_fails_nothing_is_left(run, data, tmp_path, monkeypatch, name):
    """Neither as a directory nor as an archive; what one that was killed has left is in nobody's way."""
    words = ("export", "--data", str(data), "--event", "0-9", "--evidence", str(tmp_path / name))
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(Bundle, "_sum", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        assert run(*words).code == 5
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / f"{name}.part").mkdir()
    assert run(*words).code == 0
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / name])
    assert run("verify", str(tmp_path / name)).code == 0


def test_an_export_writes_through_no_link(run, data, tmp_path):
    """What lies where it writes meanwhile is taken away, and what it leads to stays; nobody else may read a bundle."""
    (tmp_path / "other").write_text("precious")
    (tmp_path / "case.zip.part").symlink_to("other")
    assert run("export", "--data", str(data), "--event", "1", "--evidence", str(tmp_path / "case.zip")).code == 0
    assert (tmp_path / "other").read_text() == "precious"
    assert stat.S_IMODE((tmp_path / "case.zip").lstat().st_mode) == 0o600


def test_flags_choose_as_in_search(run, data, tmp_path):
    """The Events of a question, all of their stages if wanted; what no head covers yet is left out and said."""
    flags = ("--verb", "create,get", "--resource", "!leases", "--stages", "all", "--data", str(data))
    out = tmp_path / "case.zip"
    result = run("export", "--evidence", str(out), *flags)
    wanted = run("search", *flags, "--columns", "log.index", "-o", "jsonl")
    indexes = sorted(json.loads(line)["log.index"] for line in wanted.lines)
    signed = [index for index in indexes if index < 280]
    assert signed
    assert result.code == (0 if signed == indexes else 4), result.err
    with zipfile.ZipFile(out) as archive:
        about = json.loads(archive.read("case/about.json"))
    assert about["events"] == signed
    assert about["chosen_by"] == {"resource": ["!leases"], "verb": ["create,get"]}
    assert run("verify", str(out)).code == 0
    both = run("export", "--evidence", str(tmp_path / "both"), *flags, "--event", "0")
    assert json.loads((tmp_path / "both/about.json").read_text())["events"] == sorted({0, *signed})
    assert both.code == result.code
    assert run("export", "--evidence", str(tmp_path / "none"), "--user", "nobody", "--data", str(data)).code == 4
    assert not (tmp_path / "none").exists()


def test_every_bit_of_an_archive_may_be_wrong(tmp_path):
    """Of its tables, too: a place that cannot be, a name that is no text, another way of packing are told as damage."""
    path = tmp_path / "case.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("case/SHA256SUMS", "x" * 50)
        archive.writestr("case/\u00e9", "y" * 50)
    whole = path.read_bytes()
    codes = set()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            verify._bundle_files(path)
        except UserError as error:
            codes.add(error.exit_code)
    assert codes == {ExitCode.USAGE, ExitCode.INTEGRITY}
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        verify._bundle_files(path)


def test_a_damaged_archive_is_refused(run, data, tmp_path):
    """Wherever a byte of it is changed, `verify` does not say that it is sound, or it still is."""
    path = tmp_path / "case.zip"
    run("export", "--evidence", str(path), "--event", "5", "--data", str(data))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        before = {name: archive.read(name) for name in archive.namelist()}
    for at in range(7, len(whole), 211):
        changed = bytearray(whole)
        changed[at] ^= 16
        path.write_bytes(changed)
        result = run("verify", str(path))
        assert "Traceback" not in result.err
        if result.code == 0:  # a time stamp or a permission of the archive itself
            with zipfile.ZipFile(path) as archive:
                assert {name: archive.read(name) for name in archive.namelist()} == before
        else:
            assert result.code in (2, 3)


def test_a_bundle_without_its_sums_is_still_one(run, data, tmp_path):
    """Whoever takes them away does not make it a data directory with nothing to check."""
    run("export", "--evidence", str(tmp_path / "out"), "--event", "5", "--data", str(data))
    (tmp_path / "out" / "SHA256SUMS").unlink()
    result = run("verify", str(tmp_path / "out"))
    assert result.code == 3
    assert "WRONG SHA256SUMS" in result.out


def test_wrong_usage_of_export(run, data, tmp_path):
    """One sentence each, nothing is left behind."""
    out = str(tmp_path / "case.zip")
    common = ("--data", str(data))
    for words, code in {
        ("--evidence", out): 2,
        ("--evidence", str(data), "--event", "1"): 2,
        ("--evidence", str(tmp_path / "no" / "x"), "--event", "1"): 2,
        ("--evidence", out, "--event", "12-3"): 2,
        ("--evidence", str(tmp_path / "case.tar.gz"), "--event", "1"): 2,
        ("--evidence", out, "--event", "nothing"): 2,
        ("--evidence", out, "--event", "270-290"): 4,
    }.items():
        result = run("export", *words, *common)
        assert result.code == code, words
        assert len(result.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
