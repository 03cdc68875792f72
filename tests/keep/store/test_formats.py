"""Someone else's reader, written from the formats page alone, reads what we write and finds the same leaves."""

from pathlib import Path

import zstandard

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.seal import leaf
from kubewitness.keep.seal.leaf import Kept, Removed, Tombstone
from kubewitness.keep.seal.leaf_cut import Group, State, blank, cut, tombstone_line
from kubewitness.keep.seal.leaf_secret import Secret
from kubewitness.keep.store.layout import KeyDir, default_keys
from kubewitness.keep.store.reader import Lost, read_blocks
from kubewitness.keep.store.segment import END_BYTES, Block, Commit, encode_block, encode_end
from tests.keep.store.build import data_dir, made, opened, raws, segment, store
from tests.model import data_directory
from tests.model import segment as model

DATA = Path(__file__).parents[2] / "data"


def recorded() -> list[bytes]:
    with (DATA / "audit-full.log.zst").open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")[:-1]


def leaves(commit: Commit) -> list[bytes]:
    salts = commit.secret.expand(len(commit.events))
    return leaf.leaves(commit.events, leaf.envelope(commit.received_ns, commit.source), salts)


def without(raw: bytes, number: int, secret: Secret, states: dict[int, State], instead: bytes = b"") -> Kept:
    salts, contents = secret.expand(9), dict(cut(raw))
    gone = {g: Removed(s, leaf.inner_hash(g, salts.of(g, number), contents[g]), instead) for g, s in states.items()}
    return Kept(blank(raw, states), gone)


def test_a_recorded_log_reads_the_same(tmp_path):
    """Bytes, times, sources and leaves of 500 recorded Events, in two segments, one of them not finished."""
    events = recorded()[:500]
    log = opened(tmp_path, segment_bytes=20_000)
    for n in range(0, 500, 50):
        store(log, events[n : n + 50], f"webhook:{n}", n)
    found = model.store(tmp_path / "segments")
    log.close()
    assert len(list((tmp_path / "segments").iterdir())) > 1
    assert [line for line, _, _, _ in found] == events
    assert [(when, source) for _, when, source, _ in found] == [
        (n // 50 * 50, f"webhook:{n // 50 * 50}") for n in range(500)
    ]
    ours = [entry for commit in commits(tmp_path / "segments") for entry in leaves(commit)]
    assert [entry for _, _, _, entry in found] == ours


def commits(path: Path) -> list[Commit]:
    return [
        commit
        for block in read_blocks(DiskDirectory.at(path))
        if not isinstance(block, Lost)
        for commit in block.commits
    ]


def test_everything_that_can_be_removed_reads_the_same(tmp_path):
    """Newlines, removed groups, tombstones, salts by group, several commits: the leaves are those of the whole."""
    raw = next(line for line in recorded() if b"requestObject" in line and b"?" in line.split(b'"verb"')[0])
    seed = Secret(b"s" * 32)
    events = [raw, raw.replace(b":{", b":{\n", 3), b"not an Event", raw, raw, raw, b'{"a":\n1}', raw, raw]
    whole = leaves(Commit(7, "webhook:ü", seed, [Kept(event) for event in events]))
    kept = [Kept(event) for event in events]
    kept[3] = without(raw, 3, seed, {Group.QUERY: State.DROPPED, Group.USER: State.REDACTED})
    kept[4] = without(raw, 4, seed, {Group.REQUEST: State.SEALED}, b"ciphertext")
    kept[5] = Kept(tombstone_line(State.EXPIRED), tombstone=Tombstone(State.EXPIRED, whole[5][1:]))
    secret = seed.without(Group.QUERY, 9, 3).without(Group.USER, 9, 3).without(Group.REQUEST, 9, 4)
    first = Commit(7, "webhook:ü", secret, kept, {3: b"i" * 16}, (5, 6))
    expired = [
        without(event, n, seed, {Group.REQUEST: State.EXPIRED}) if b"requestObject" in event else Kept(event)
        for n, event in enumerate(events)
    ]
    second = Commit(7, "webhook:ü", seed.without(Group.REQUEST, 9), expired)
    data = encode_block(Block(0, [first, second])) + encode_end(18)
    segment(tmp_path, 0).write_bytes(data)
    found = model.store(tmp_path)
    assert [entry for _, _, _, entry in found] == whole * 2
    assert [line for line, _, _, _ in found] == [event.line for event in [*kept, *expired]]
    assert [entry for commit in commits(tmp_path) for entry in leaves(commit)] == whole * 2


def test_what_does_not_count_is_not_counted(tmp_path):
    """A torn tail, and blocks beyond the next segment's name, are nothing to either reader."""
    path = made(tmp_path, 50, segment_bytes=600)
    first, last = segment(path, 0), segment(path, 30)
    first.write_bytes(first.read_bytes()[:-END_BYTES] + last.read_bytes()[:-END_BYTES])
    last.write_bytes(last.read_bytes()[: -END_BYTES - 9])
    assert [line for line, _, _, _ in model.store(path)] == raws(0, 40)


def test_a_whole_data_directory_reads_the_same(tmp_path):
    """Two clusters, 700 recorded Events, heads before and after rotations of keys, an end that is not signed."""
    events = recorded()
    data_dir(tmp_path / "data", events[:500], unsigned=20, segment_bytes=20_000)
    data = data_dir(tmp_path / "data", events[:40], cluster="cl\u00fcster/../2")
    meta = data.clusters()["prod"]
    KeyDir(default_keys(data.path)).rotate(meta)
    KeyDir(default_keys(data.path)).rotate(meta)
    data_dir(tmp_path / "data", events[:700], unsigned=20, segment_bytes=20_000)
    found = data_directory.read(data.path, default_keys(data.path))
    assert found.keys() == {"prod", "cl\u00fcster/../2"}
    assert [line for line, *_ in found["prod"].events] == events[:700]
    assert [line for line, *_ in found["cl\u00fcster/../2"].events] == events[:40]
    assert {name: log.signed for name, log in found.items()} == {"prod": 680, "cl\u00fcster/../2": 40}
