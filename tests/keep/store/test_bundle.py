"""A bundle of evidence is accepted as it was made, by a Python with nothing else, and no byte of it can be changed."""

import base64
import hashlib
import random
import shutil
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.keep.seal import leaf
from kubewitness.keep.seal.errors import LeafError
from kubewitness.keep.seal.leaf import Kept, Removed, Tombstone
from kubewitness.keep.seal.leaf_cut import Group, State, blank, cut, tombstone_line
from kubewitness.keep.seal.leaf_secret import Secret
from kubewitness.keep.store import bundle_verify
from kubewitness.keep.store.bundle import Bundle
from kubewitness.keep.store.bundle_verify import BROKEN, SUMS, WrongError, check, check_event, check_sums
from kubewitness.keep.store.errors import DamagedError
from kubewitness.keep.store.evidence import Archive
from kubewitness.keep.store.layout import DataDir, KeyDir, default_keys
from kubewitness.keep.store.segment import Block, Commit, decode_block, encode_block, encode_end, read_start
from kubewitness.keep.store.tree import Tree, block_leaves
from tests.keep.store.build import data_dir, recorded, segment

Files = dict[str, bytes]
CUT_EVENTS = recorded()


def rich() -> bytes:
    return next(line for line in CUT_EVENTS if b'"requestObject"' in line and b"?" in line.split(b'"verb"')[0])


def without(raw: bytes, number: int, secret: Secret, states: dict[int, State]) -> Kept:
    salts, contents = secret.expand(6), dict(cut(raw))
    gone = {g: Removed(s, leaf.inner_hash(g, salts.of(g, number), contents[g])) for g, s in states.items()}
    return Kept(blank(raw, states), gone)


def special(path: Path) -> DataDir:
    """A log of six Events: whole, odd, with newlines, without a query and user, without a body, a tombstone."""
    raw = rich()
    seed = Secret(b"s" * 32)
    events = [raw, b"not an Event", raw.replace(b":{", b":{\n", 3), raw, raw, raw]
    salts = seed.expand(6)
    whole = leaf.leaves([Kept(event) for event in events], leaf.envelope(7, "webhook:\u00fc"), salts)
    kept = [Kept(event) for event in events]
    kept[3] = without(raw, 3, seed, {Group.QUERY: State.DROPPED, Group.USER: State.REDACTED})
    kept[4] = without(raw, 4, seed, {Group.REQUEST: State.EXPIRED})
    kept[5] = Kept(tombstone_line(State.EXPIRED), tombstone=Tombstone(State.EXPIRED, whole[5][1:]))
    secret = seed.without(Group.QUERY, 6, 3).without(Group.USER, 6, 3).without(Group.REQUEST, 6, 4)
    data = DataDir(path)
    root, meta = data.enter("prod")
    root.enter("segments").close()
    block = Block(0, [Commit(7, "webhook:\u00fc", secret, kept)])
    segment(data.log_path("prod") / "segments", 0).write_bytes(encode_block(block) + encode_end(6))
    tree = Tree(root, meta.origin, KeyDir(default_keys(path)).signers(meta))
    tree.grow(6)
    tree.close()
    root.close()
    return data


def bundled(data: DataDir, indexes) -> Files:
    with data.look("prod") as root:
        archive = Archive(root)
        keys = KeyDir(default_keys(data.path)).verifiers("prod")
        return dict(Bundle(archive, keys, "prod", {}).files(archive.at(indexes)))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    """A bundle of all the special Events."""
    return bundled(special(tmp_path_factory.mktemp("special") / "data"), range(6))


@pytest.fixture(scope="module")
def head(files) -> tuple[int, bytes]:
    """Size and root of the bundle's checkpoint."""
    _, size, root, _ = bundle_verify.open_checkpoint(
        files["checkpoint"], bundle_verify.parse_keys(files["keys.txt"].decode())
    )
    return size, root


def written(files: Files, path: Path) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def summed(files: Files) -> Files:
    """The same with sums that somebody made anew."""
    rest = {name: data for name, data in files.items() if name != SUMS}
    body = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(rest.items())).encode()
    return rest | {SUMS: body + b"# " + hashlib.sha256(body).hexdigest().encode() + b"\n"}


def test_every_kind_of_event_is_proved(files):
    """Whole, odd, with newlines, with dropped, redacted and expired groups, and a tombstone."""
    good, wrong, proved, lacking = check(files)
    assert (wrong, proved) == ([], 6)
    assert "3 Events were recorded in that log, in exactly these bytes" in good
    counts = "event expired 1, requestObject expired 1, requestURI.query dropped 1, user redacted 1"
    assert lacking == [f"3 Events were recorded there, and this was removed; nothing says by whom: {counts}"]
    assert summed(files) == files


def python(path: Path, *words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-I", "-S", *words]
    return subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)


def test_what_was_removed_is_told_and_is_not_all_right(files, tmp_path):
    """Whoever makes a bundle can blank what he likes: who checks it hears of it."""
    done = python(written(files, tmp_path), "verify.py")
    assert (done.returncode, done.stderr) == (4, "")
    assert "ok     3 Events were recorded in that log, in exactly these bytes\n" in done.stdout
    assert "LACKS  3 Events were recorded there, and this was removed; nothing says by whom: event e" in done.stdout


def test_an_auditor_needs_nothing_but_python(tmp_path):
    """`python3 -I -S verify.py` and `sha256sum -c`; nothing is written."""
    files = bundled(special(tmp_path / "data"), range(3))
    path = written(files, tmp_path / "case")
    done = python(path, "verify.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("ok ") == 4
    assert "note   the keys are those of the bundle itself" in done.stdout
    pinned = python(path, "verify.py", "--key", files["keys.txt"].decode().strip())
    assert (pinned.returncode, "note" in pinned.stdout) == (0, False)
    assert python(tmp_path, "case/verify.py", "--key", "case/keys.txt", "case").returncode == 0
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()) == sorted(files)
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--quiet", "-c", SUMS], cwd=path, check=True)


def test_the_program_imports_the_standard_library_only(files):
    """So that an auditor can run it anywhere, and read all of it."""
    lines = [line for line in files["verify.py"].decode().splitlines() if line.startswith(("import ", "from "))]
    modules = {line.split()[1] for line in lines}
    assert modules <= {"__future__", "base64", "hashlib", "json", "pathlib", "re", "sys"}


def test_what_is_wrong_is_said(files, tmp_path):
    """Exit code 3 and the Event, for a changed one; 4 for nothing; 2 for wrong usage."""
    path = written(files, tmp_path / "case")
    event = path / "events" / f"{0:020}.json"
    event.write_bytes(event.read_bytes().replace(b"Event", b"event", 1))
    done = python(path, "verify.py")
    assert done.returncode == 3
    assert f"WRONG  events/{0:020}.json was changed" in done.stdout
    assert "WRONG  Event 0: the Event, or its time, source or place, is not what was recorded" in done.stdout
    assert python(path, "verify.py", "--no").returncode == 2
    (tmp_path / "nothing").mkdir()
    assert python(path, "verify.py", str(tmp_path / "nothing")).returncode == 3


def test_no_event_is_nothing_to_check(tmp_path):
    """A bundle without Events is whole, and proves nothing."""
    files = bundled(special(tmp_path / "data"), [])
    assert check(files)[1:3] == ([], 0)
    assert python(written(files, tmp_path / "case"), "verify.py").returncode == 4


def test_every_flipped_byte_is_found(files):
    """Of every file, the program and the README among them: the sums find what chance does."""
    for name, data in files.items():
        for at in range(0, len(data), 7 if name == "verify.py" else 1):
            flipped = bytearray(data)
            flipped[at] ^= 1 << at % 8
            with pytest.raises(BROKEN):
                check_sums(files | {name: bytes(flipped)})


def test_every_flipped_byte_of_the_evidence_is_found_without_sums(files, head):
    """Who makes the sums anew still cannot change an Event, its time, source, salts, place or proof."""
    for index in range(6):
        for kind in ("json", "tlog-proof"):
            name = f"events/{index:020}.{kind}"
            for at in range(0, len(files[name]), 1 if index == 3 else 11):
                flipped = bytearray(files[name])
                flipped[at] ^= 1 << at % 8
                with pytest.raises(BROKEN):
                    check_event(files | {name: bytes(flipped)}, index, *head)


@pytest.mark.parametrize("name", ["checkpoint", "keys.txt"])
def test_every_flipped_byte_of_the_head_is_found_without_sums(files, name):
    """Nor the head, nor the key; and no flip ends in anything but a sentence."""
    for at in range(len(files[name])):
        flipped = bytearray(files[name])
        flipped[at] ^= 1 << at % 8
        changed = files | {name: bytes(flipped)}
        if name == "checkpoint":  # in the proofs as well
            changed |= {n: d.replace(files[name], bytes(flipped)) for n, d in files.items() if n.endswith("proof")}
        assert check(summed(changed))[1], (name, at)


def swap(files: Files, one: str, other: str) -> Files:
    return files | {one: files[other], other: files[one]}


def event(index: int, kind: str = "json") -> str:
    return f"events/{index:020}.{kind}"


MUTATIONS = {
    "an Event is left out": lambda f: {n: d for n, d in f.items() if n != event(2)},
    "a proof is left out": lambda f: {n: d for n, d in f.items() if n != event(2, "tlog-proof")},
    "two Events changed places": lambda f: swap(f, event(0), event(1)),
    "two proofs changed places": lambda f: swap(f, event(0, "tlog-proof"), event(3, "tlog-proof")),
    "an Event is there twice": lambda f: f | {event(9): f[event(0)], event(9, "tlog-proof"): f[event(0, "tlog-proof")]},
    "a file was added": lambda f: f | {"events/more.txt": b"more"},
    "no checkpoint": lambda f: {n: d for n, d in f.items() if n != "checkpoint"},
    "no keys": lambda f: f | {"keys.txt": b""},
    "an event is cut": lambda f: f | {event(0): f[event(0)][:-1]},
    "an event has more": lambda f: f | {event(0): f[event(0)] + b"\n"},
    "the removed member was put back": lambda f: f | {event(4): rich()},
    "another reason for a removal": lambda f: f | {event(4): f[event(4)].replace(b"expired", b"dropped")},
    "no reason for a removal": lambda f: f | {event(4): f[event(4)].split(b',"kubewitness.io')[0] + b"}"},
    "about another log": lambda f: f | {"about.json": f["about.json"].replace(b"/prod", b"/test")},
    "about fewer Events": lambda f: f | {"about.json": f["about.json"].replace(b"    5\n", b"    4\n")},
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_every_mutation_is_found(files, name):
    """By the sums, and by the proofs when the sums were made anew."""
    changed = MUTATIONS[name](files)
    assert changed != files
    assert check(changed)[1]
    assert check(summed(changed))[1]


@pytest.mark.parametrize("name", ["outline", "envelope"])
def test_nobody_hides_a_change_behind_a_removal(files, head, name):
    """The true hash of the outline, shown as if it had been removed, would let the rest of an Event say anything."""
    raw, proof = files[event(0)], files[event(0, "tlog-proof")]
    evidence, _, _, _ = bundle_verify.parse_proof(proof)
    contents = bundle_verify.contents_of(raw, {}) | {0: (7).to_bytes(8, "big") + "webhook:\u00fc".encode()}
    number = bundle_verify.GROUPS[name]
    salted = bytes([2, number]) + bytes.fromhex(evidence["groups"][name]["salt"]) + contents[number]
    evidence["groups"][name] = {"hash": hashlib.sha256(salted).hexdigest(), "state": "redacted"}
    forged = (
        raw.replace(b'"verb":"', b'"verb":"not')[:-1] + b',"kubewitness.io/removed":{"%s":"redacted"}}' % name.encode()
    )
    lines = proof.split(b"\n")
    lines[1] = b"extra " + base64.b64encode(bundle_verify.canonical(evidence, indent=None))
    with pytest.raises(WrongError, match="envelope or its outline"):
        check_event(files | {event(0): forged, event(0, "tlog-proof"): b"\n".join(lines)}, 0, *head)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told | {"received": "07"},
        lambda told: told | {"received": 7},
        lambda told: told | {"received": "-7"},
        lambda told: told | {"source": 5},
        lambda told: told | {"version": 2},
        lambda told: told | {"more": ""},
        lambda told: told | {"groups": []},
        lambda told: told | {"groups": told["groups"] | {"more": {"salt": "00" * 16}}},
        lambda told: {name: value for name, value in told.items() if name != "source"},
    ],
)
def test_evidence_has_one_way_to_be_written(files, head, change):
    """Another spelling of the same, or of something else, is refused."""
    lines = files[event(0, "tlog-proof")].split(b"\n")
    evidence, _, _, _ = bundle_verify.parse_proof(files[event(0, "tlog-proof")])
    lines[1] = b"extra " + base64.b64encode(bundle_verify.canonical(change(evidence), indent=None))
    with pytest.raises(BROKEN):
        check_event(files | {event(0, "tlog-proof"): b"\n".join(lines)}, 0, *head)


def test_another_key_is_refused(files, tmp_path):
    """A bundle that somebody signed himself is refused by who knows the key."""
    other = bundled(special(tmp_path / "data"), range(6))
    assert check(other)[1] == []
    assert check(other, files["keys.txt"].decode())[1]


def test_a_salt_that_is_gone_proves_nothing(tmp_path):
    """An Event whose salts were destroyed without its content cannot be exported."""
    data = special(tmp_path / "data")
    path = segment(data.log_path("prod") / "segments", 0)
    commit = Commit(7, "a", Secret(b"s" * 32).without(Group.USER, 1), [Kept(rich())])
    path.write_bytes(encode_block(Block(0, [commit])) + encode_end(1))
    with pytest.raises(LeafError):
        bundled(data, [0])


def test_many_events_of_a_large_log(tmp_path):
    """From several segments, near and far from each other."""
    data = data_dir(tmp_path / "data", CUT_EVENTS[:700], segment_bytes=20_000)
    indexes = [0, 1, 255, 256, 300, 699]
    files = bundled(data, indexes)
    assert check(files)[1:3] == ([], 6)
    assert [files[event(index)] for index in indexes] == [CUT_EVENTS[index] for index in indexes]


@settings(max_examples=30)
@given(st.binary(max_size=80), st.binary(min_size=32, max_size=32), st.integers(0, 511))
def test_signatures_are_checked_as_others_check_them(message, seed, bit):
    """The plain Ed25519 takes what the library signs, and not a bit more."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert bundle_verify.is_signature(public, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not bundle_verify.is_signature(public, message, bytes(changed))
    assert not bundle_verify.is_signature(public, message + b"x", signature)
    order = bundle_verify.ORDER + int.from_bytes(signature[32:], "little")
    assert not bundle_verify.is_signature(public, message, signature[:32] + order.to_bytes(32, "little"))


def test_events_are_cut_as_ours_are():
    """The slow cut finds the groups that the fast one does, in all recorded Events and in odd ones."""
    odd = [b"{}", b"{", b"", b"[]", b'{"a":1,"a":2}', b'{"a": 1}', b'{"a\\n":1}', b'{"user":{"a":"}"},"x":[[]]}']
    odd += [b'{"requestURI":"/a?b","x":1}', b'{"requestURI":1,"user":}', b'{"a":1,}', b'{"a":1}}', b'{"a":"\xff"}']
    for raw in [*CUT_EVENTS[:1500], *odd]:
        assert bundle_verify.contents_of(raw, {}) == dict(cut(raw)), raw


def test_evidence_that_somebody_made_up_is_damage_or_no_leaf(tmp_path):
    """Under a good checksum anything may stand: it is read, or refused as what it is, and never ends in a fault."""
    data = special(tmp_path / "data")
    whole = segment(data.log_path("prod") / "segments", 0).read_bytes()
    start = read_start(whole)
    rng = random.Random(3)
    for _ in range(3000):
        block = bytearray(whole[: start.length])
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(21, start.length - start.frame_bytes)
            block[at] = rng.choice((block[at] ^ 1 << rng.randrange(8), 0, 1, 2, 255))
        block[16:20] = zlib.crc32(block[20:]).to_bytes(4)
        with suppress(DamagedError, LeafError):
            list(block_leaves(decode_block(bytes(block))))
