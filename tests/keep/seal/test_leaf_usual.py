"""The short way to a leaf gives what the slow reading of the rule gives, and leaves alone what is not usual."""

from hypothesis import example, given
from hypothesis import strategies as st

from kubewitness.keep.seal import leaf, leaf_usual
from kubewitness.keep.seal.leaf import Kept, Salts
from tests.model import leaf as model

SEED = bytes(range(32))
NAMES = ["kind", "apiVersion", "level", "auditID", "stage", "requestURI", "verb", "user", "sourceIPs", "userAgent"]
NAMES += ["objectRef", "responseStatus", "requestObject", "responseObject"]
NAMES += ["requestReceivedTimestamp", "stageTimestamp", "annotations"]
NEEDED = {"level", "auditID", "stage", "requestURI", "verb", "user", "sourceIPs", "userAgent"}
NEEDED |= {"requestReceivedTimestamp", "stageTimestamp"}
VALUES = [
    b'"a"',
    b"1",
    b"null",
    b'{"user":{"a":"}"},"annotations":1}',
    b'["?","\\"user\\":"]',
    b'""',
    b'"/a?b"',
    b'"?"',
]

member_lists = st.sets(st.sampled_from(sorted(set(NAMES) - NEEDED))).map(
    lambda chosen: [name for name in NAMES if name in NEEDED | chosen]
)
contents = st.lists(st.sampled_from(VALUES), min_size=len(NAMES), max_size=len(NAMES))
USUAL = [name for name in NAMES if name not in ("requestObject", "responseObject")]


def written(names: list[str], values: list[bytes]) -> bytes:
    return (
        b"{" + b",".join(b'"%s":%s' % (name.encode(), value) for name, value in zip(names, values, strict=False)) + b"}"
    )


def is_short(raw: bytes) -> bool:
    return leaf_usual.usual_hashes(raw, [b""] * 9, [bytes(16)] * 9, 0) is not None


def check(raw: bytes) -> None:
    entry = leaf.leaves([Kept(raw)], leaf.envelope(5, "s"), Salts.from_seed(SEED, 1))
    assert entry == [model.entry(SEED, 0, 5, "s", raw)]


@given(member_lists, contents)
@example(USUAL, VALUES * 3)
def test_usual_members_with_any_values(names, values):
    """Whatever stands in the members, and whichever of the others are there, the leaf is the model's."""
    raw = written(names, values)
    check(raw)
    assert is_short(raw) is (("kind" in names) == ("apiVersion" in names))


@given(member_lists, contents, st.data())
def test_what_is_not_quite_usual(names, values, data):
    """Another order, a second member of a name, one unknown, a space, an escape: the short way is not taken."""
    raw = written(names, values)
    at = data.draw(st.integers(0, len(names) - 2))
    one, two = names[at : at + 2]
    odd = data.draw(
        st.sampled_from(
            [
                written([*names[:at], two, one, *names[at + 2 :]], values),
                written([*names[: at + 1], one, *names[at + 1 :]], [*values, b"1"]),
                written([*names[:at], "impersonatedUser", *names[at:]], [*values, b"{}"]),
                raw.replace(b',"auditID"', b', "auditID"'),
                raw.replace(b'"level"', b'"lev\\u0065l"'),
                raw[:-1] + b"} ",
                b" " + raw,
                raw.replace(b'"stage":', b'"Stage":'),
            ]
        )
    )
    assert not is_short(odd)
    check(odd)


def test_the_salt_of_the_number_is_used():
    """Two Events of one commit that are alike have two leaves."""
    raw = written(USUAL, VALUES * 3)
    one, two = leaf.leaves([Kept(raw)] * 2, leaf.envelope(5, "s"), Salts.from_seed(SEED, 2))
    assert is_short(raw)
    assert one != two
    assert [one, two] == [model.entry(SEED, number, 5, "s", raw) for number in range(2)]
