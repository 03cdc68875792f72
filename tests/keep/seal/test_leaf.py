"""Leaves against the published vectors and the slow reading of the rule; what is blanked stays proven."""

import hashlib
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.keep.seal import leaf
from kubewitness.keep.seal.errors import LeafError
from kubewitness.keep.seal.leaf import Kept, Removed, Salts, Tombstone
from kubewitness.keep.seal.leaf_cut import Group, State, blank, cut, tombstone_line
from tests.model import leaf as model

ROOT = Path(__file__).parents[2]
SEED = bytes(range(32))
WHEN, SOURCE = 1_700_000_000_123_456_789, "webhook:one"
ENVELOPE = leaf.envelope(WHEN, SOURCE)
OPTIONAL = [group for group in Group if group > Group.OUTLINE]
GOLDEN = sorted((ROOT / "golden" / "leaf").glob("*.json"))
EVENT = (
    b'{"kind":"Event","requestURI":"/api/v1/namespaces/a/pods/b/exec?command=id","verb":"create",'
    b'"user":{"username":"ana"},"impersonatedUser":{"username":"bo"},"sourceIPs":["10.0.0.1"],"userAgent":"curl",'
    b'"responseStatus":{"code":201},"requestObject":{"a":[1,"}"]},"responseObject":null,'
    b'"stageTimestamp":"2026-01-01T00:00:00.000000Z","annotations":{"k":"v"}}'
)


def entries(events: list[Kept], salts: Salts | None = None) -> list[bytes]:
    return leaf.leaves(events, ENVELOPE, salts or Salts.from_seed(SEED, len(events)))


def recorded(name: str) -> list[bytes]:
    with (ROOT / "data" / f"audit-{name}.log.zst").open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")[:-1]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_published_vectors(path):
    """Each vector's contents, salts, hashes and leaf are what we and the model compute."""
    vector = json.loads(path.read_text("utf-8"))
    seed, received_ns, source = bytes.fromhex(vector["seed"]), int(vector["received_ns"]), vector["source"]
    salts = Salts.from_seed(seed, len(vector["events"]))
    envelope = leaf.envelope(received_ns, source)
    kept = []
    for number, event in enumerate(vector["events"]):
        raw = bytes.fromhex(event["raw"])
        contents = {0: envelope, **dict(cut(raw))}
        assert {int(g): bytes.fromhex(part["content"]) for g, part in event["groups"].items()} == contents
        for group, part in event["groups"].items():
            salt = salts.of(int(group), number)
            assert salt.hex() == part["salt"]
            assert leaf.inner_hash(int(group), salt, contents[int(group)]).hex() == part["hash"]
        assert model.entry(seed, number, received_ns, source, raw).hex() == event["leaf"]
        kept.append(Kept(raw))
        for line in event.get("blanked", []):
            states = {int(group): State[state.upper()] for group, state in line["removed"].items()}
            assert blank(raw, states) == bytes.fromhex(line["line"])
    assert [entry.hex() for entry in leaf.leaves(kept, envelope, salts)] == [e["leaf"] for e in vector["events"]]


def test_vectors_are_published():
    """There are vectors for plain, odd and blanked Events."""
    assert {path.stem for path in GOLDEN} == {"blanked", "odd", "plain"}


@pytest.mark.parametrize("name", ["metadata", "security", "full"])
def test_recorded_events_are_cut_as_the_model_cuts(name):
    """Every recorded Event is cut into groups, to the byte as the model does, and no byte is in none."""
    for raw in recorded(name)[::7]:
        contents = dict(cut(raw))
        assert contents == model.contents(raw)
        assert len(contents) >= 3
        assert sum(map(len, contents.values())) >= len(raw)


def test_recorded_leaves_are_the_models():
    """A commit of recorded Events has the leaves that the model computes one by one."""
    raws = recorded("full")[:4800:37]
    expected = [model.entry(SEED, number, WHEN, SOURCE, raw) for number, raw in enumerate(raws)]
    assert entries([Kept(raw) for raw in raws]) == expected


odd = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"{}",
            b"{",
            b"{,}",
            b'{"a":1,}',
            b'{"a":}',
            b'{"a":tru"e"}',
            b'{"a":{]}',
            b'{"a":["]}',
            b'{"a":"b}',
            b'{"a":"\n","user":[\n]}',
            b'{"a":1}}',
            b'{"a":\\"}',
            b" {}",
            b"null",
            b"[1]",
            b'{"a":1}\n',
            b'{"a": 1}',
            b'{"user":1,"user":2}',
            b'{"us\\u0065r":1}',
            b'{"requestURI":5}',
            b'{"requestURI":["?"]}',
            b'{"requestURI":"?"}',
            b'{"requestURI":"/\\u003fx"}',
            b'{"requestURI":"/a?b\\"c"}',
            b'{"user":"\xff\xfe"}',
            b'{"\xff":1}',
            b'{"user":{"user":[{"a":"}"}]},"a":"\\\\"}',
            b'{"user":' + b"[" * 5000 + b"]" * 5000 + b"}",
        ]
    ),
    st.dictionaries(
        st.sampled_from([*model.MEMBERS, "requestURI", "verb", "", "ü"]),
        st.one_of(
            st.text('a?"\\ü', max_size=5), st.integers(), st.lists(st.text('a"]', max_size=3), max_size=2), st.none()
        ),
    ).map(lambda d: json.dumps(d, separators=(",", ":"), ensure_ascii=False).encode()),
)


@given(odd)
def test_odd_bytes_are_cut_as_the_model_cuts(raw):
    """Any bytes, JSON or not, are cut by the rule and not by the taste of a JSON parser."""
    assert dict(cut(raw)) == model.contents(raw)
    assert entries([Kept(raw)]) == [model.entry(SEED, 0, WHEN, SOURCE, raw)]


def test_layouts_are_not_hoarded():
    """A sender who invents member names fills no memory."""
    from kubewitness.keep.seal import leaf_cut

    for number in range(3 * leaf_cut.MAX_LAYOUTS):
        cut(b'{"member%d":1,"user":2}' % number)
    assert len(leaf_cut._layouts) <= leaf_cut.MAX_LAYOUTS


def without(raw: bytes, number: int, salts: Salts, states: dict[int, State]) -> Kept:
    """What is kept of an Event when groups are removed."""
    contents = dict(cut(raw))
    gone = {g: Removed(s, leaf.inner_hash(g, salts.of(g, number), contents[g])) for g, s in states.items()}
    return Kept(blank(raw, states), gone)


@given(st.dictionaries(st.sampled_from(OPTIONAL), st.sampled_from(State), min_size=1), st.integers(0, 2))
def test_what_is_left_proves_the_same_leaf(states, number):
    """Any groups may go, for any reason, with their salts; the leaf stays, and the line still reads as an Event."""
    events = [EVENT] * 3
    salts = Salts.from_seed(SEED, 3)
    expected = entries([Kept(raw) for raw in events])
    kept = [Kept(raw) for raw in events]
    kept[number] = without(EVENT, number, salts, states)
    streams = {group: bytearray(stream) for group, stream in salts.groups.items()}
    for group in states:
        streams[group][16 * number : 16 * number + 16] = leaf.DESTROYED
    assert entries(kept, Salts({group: bytes(stream) for group, stream in streams.items()})) == expected
    line = json.loads(kept[number].line)
    assert set(line) == set(json.loads(EVENT)) | {"kubewitness.io/removed"}
    assert len(line["kubewitness.io/removed"]) == len(states)
    assert ("?" in line["requestURI"]) == (Group.QUERY not in states)
    assert (line["user"] is None) == (line["impersonatedUser"] is None) == (Group.USER in states)


def test_a_group_that_went_for_the_whole_commit_needs_no_seed():
    """When the bodies of a commit expire, the seeds of the other groups are enough."""
    salts = Salts.from_seed(SEED, 2)
    expected = entries([Kept(EVENT)] * 2)
    states = {Group.REQUEST: State.EXPIRED, Group.RESPONSE: State.EXPIRED}
    kept = [without(EVENT, number, salts, states) for number in range(2)]
    left = Salts({group: stream for group, stream in salts.groups.items() if group not in states})
    assert entries(kept, left) == expected


def test_a_tombstone_keeps_the_leaf():
    """An Event of which only the commitment is left has the leaf it had."""
    (expected,) = entries([Kept(EVENT)])
    dead = Kept(tombstone_line(State.REDACTED), tombstone=Tombstone(State.REDACTED, expected[1:]))
    assert entries([dead]) == [expected]
    with pytest.raises(LeafError, match="tombstone"):
        entries([Kept(EVENT, tombstone=dead.tombstone)])


def test_blanking_is_all_that_can_be_done():
    """A removed group cannot be shown under another name, brought back changed, or be said to never have been."""
    salts = Salts.from_seed(SEED, 1)
    (expected,) = entries([Kept(EVENT)])
    kept = without(EVENT, 0, salts, {Group.REQUEST: State.REDACTED})
    assert entries([kept]) == [expected]
    inner = kept.removed[Group.REQUEST].inner
    renamed = without(EVENT, 0, salts, {Group.RESPONSE: State.REDACTED})
    moved = Kept(renamed.line, {Group.RESPONSE: Removed(State.REDACTED, inner)})
    assert entries([moved]) != [expected]
    assert entries([Kept(EVENT.replace(b'"a":[1', b'"a":[2'))]) != [expected]
    never = EVENT.replace(b'"requestObject":{"a":[1,"}"]},', b"")
    assert entries([Kept(never)]) != [expected]
    for line in (kept.line[:-1], kept.line.replace(b'"requestObject":null', b'"requestObject":{}'), EVENT):
        with pytest.raises(LeafError):
            entries([Kept(line, kept.removed)])


def test_the_state_may_be_told_but_not_the_hash():
    """Which Event, which time, which source, which salts: each changes the leaf."""
    (expected,) = entries([Kept(EVENT)])
    salts = Salts.from_seed(SEED, 2)
    assert leaf.leaves([Kept(EVENT)], leaf.envelope(WHEN + 1, SOURCE), salts) != [expected]
    assert leaf.leaves([Kept(EVENT)], leaf.envelope(WHEN, "webhook:two"), salts) != [expected]
    assert leaf.leaves([Kept(EVENT)] * 2, ENVELOPE, salts)[1] != expected
    assert leaf.leaves([Kept(EVENT)], ENVELOPE, Salts.from_seed(bytes(32), 1)) != [expected]


def test_what_is_not_there_cannot_be_blanked():
    """Removing a group that the Event has not, or from an Event that is not cut, is refused."""
    with pytest.raises(LeafError, match="query"):
        blank(b'{"requestURI":"/a"}', {Group.QUERY: State.DROPPED})
    with pytest.raises(LeafError, match="nothing"):
        blank(EVENT, {})
    with pytest.raises(LeafError, match="user"):
        blank(b'{"user": 1}', {Group.USER: State.DROPPED})


def test_a_missing_salt_is_named():
    """A commit whose salts were destroyed for an Event that is still there is an error, not another leaf."""
    salts = Salts.from_seed(SEED, 1)
    short = Salts({**salts.groups, Group.CLIENT: leaf.DESTROYED})
    with pytest.raises(LeafError, match="client of Event 0"):
        leaf.kept_commitment(Kept(EVENT), 0, hashlib.sha256(b"").digest(), short)
    with pytest.raises(LeafError, match="client of Event 0"):
        entries([Kept(EVENT)], Salts({g: s for g, s in salts.groups.items() if g != Group.CLIENT}))
