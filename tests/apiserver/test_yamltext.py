"""Text is changed where asked and nowhere else; what is not understood is refused with its line."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.apiserver import yamltext
from kubewitness.apiserver.yamltext import EditError, append, put, read, replace

from .trees import FIXTURES

ODD = """\
# head
spec:   # of the pod
    containers:
      -   command:
            - kube-apiserver   # the program
            - "--a=b"

          # about the image
          image: 'x'
    volumes: [ ]
    empty:
last: |
  two
  lines
"""


def _is_subsequence(old: list[str], new: list[str]) -> bool:
    rest = iter(new)
    return all(line in rest for line in old)


def test_every_old_line_stays():
    """Appending in odd indentation keeps comments, quotes, blank lines and the indentation of the list."""
    new = append(read(ODD), ("spec", "containers", 0, "command"), "--c=d").text
    assert '            - "--a=b"\n            - --c=d\n\n          # about' in new
    assert _is_subsequence(ODD.splitlines(), new.splitlines())
    assert len(new.splitlines()) == len(ODD.splitlines()) + 1


def test_empty_places_are_filled_in_block_style():
    """`[]`, `{}` and nothing become lines below the name; what stands behind them on the line stays."""
    new = replace(read(ODD), ("spec", "volumes"), [{"name": "a"}])
    new = replace(new, ("spec", "empty"), {"b": "1"})
    assert "    volumes:\n    - name: a\n    empty:\n      b: '1'\nlast" in new.text
    commented = replace(read("a: {}   # why\nb: 1\n"), ("a",), {"c": "d"}).text
    assert commented == "a:   # why\n  c: d\nb: 1\n"
    assert replace(read("a:   # why\nb: 1\n"), ("a",), ["x"]).data() == {"a": ["x"], "b": "1"}


@pytest.mark.parametrize("behind", ["---\n", "---", "--- # end\n\n", "...\n---\n", "---\n---\n# nothing\n"])
def test_an_empty_document_may_follow(behind):
    """The kubelet reads the first document; what is appended to it stands before the line that ends it."""
    new = append(read("a:\n- b\n" + behind), ("a",), "c")
    assert new.text == "a:\n- b\n- c\n" + behind
    with pytest.raises(EditError, match="a second document begins here") as refused:
        read("a: b\n---\n---\nc: d\n")
    assert refused.value.line == 4


def test_flow_style_stays_flow_style():
    """JSON stays JSON."""
    old = '{"spec": {"command": ["kube-apiserver"], "volumes": []}}'
    new = append(read(old), ("spec", "command"), "--a=b")
    new = append(new, ("spec", "volumes"), {"name": "v", "hostPath": {"path": "/x"}})
    new = put(new, ("spec",), "hostNetwork", True)
    assert json.loads(new.text) == {
        "spec": {
            "command": ["kube-apiserver", "--a=b"],
            "volumes": [{"name": "v", "hostPath": {"path": "/x"}}],
            "hostNetwork": True,
        }
    }


def test_a_replaced_scalar_keeps_its_quotes():
    """Single stays single, double stays double, plain is quoted only where YAML would read another type."""
    document = read("a: 'x'\nb: \"y\"\nc: z  # c\n")
    for name, value in (("a", "it's"), ("b", 'say "hi"'), ("c", "yes")):
        document = replace(document, (name,), value)
    assert document.text == "a: 'it''s'\nb: \"say \\\"hi\\\"\"\nc: 'yes'  # c\n"


def test_line_ends_of_windows_and_a_missing_last_one():
    """CR LF stays so; text after a last line without an end begins a line of its own."""
    assert append(read("a:\r\n- b\r\nc: d\r\n"), ("a",), "x").text == "a:\r\n- b\r\n- x\r\nc: d\r\n"
    assert append(read("a:\n- b"), ("a",), "x").text == "a:\n- b\n- x\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: &x 1\nb: *x\n", 1, "anchors"),
        ("a: 1\nb: 2\na: 3\n", 3, "given twice"),
        ("a: 1\n---\nb: 2\n", 3, "second document"),
        ("", 1, "empty"),
        ("a: !!python/object:os.system x\n", 1, "tag"),
        ("a:\n  b: [1,\n", 3, "no YAML"),
        ("a: 1\n\tb: 2\n", 2, "no YAML"),
        ("<<: {a: 1}\n", 1, "merge"),
        ("? [a]\n: b\n", 1, "plain text"),
        ("[" * 100, 1, "deeper"),
        (b"a: \xff\n", 1, "UTF-8"),
        ("a: \x00", 1, "not allowed"),
        ("x" * 500_000, 1, "larger"),
    ],
)
def test_what_is_not_understood_is_refused(text, line, words):
    """Each refusal names its line."""
    with pytest.raises(EditError, match=words) as refused:
        read(text)
    assert refused.value.line == line


def test_an_edit_that_would_change_more_is_refused():
    """A change whose text reads back as something else is not given."""
    document = read("a: |\n  b\n")
    with pytest.raises(EditError):
        yamltext._proved("a: |\n  b\nc: d\n", yamltext._canon(document.root))


_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


@given(_TEXTS, _TEXTS)
def test_any_text_can_be_put_in(old, new):
    """Whatever text is appended or put in place is read back as it is, also by PyYAML, or refused."""
    try:
        document = append(read(yaml.safe_dump({"list": [old], "one": old}, allow_unicode=True)), ("list",), new)
        document = replace(document, ("one",), new)
    except EditError:
        return
    assert yaml.safe_load(document.text) == {"list": [old, new], "one": new}


_MANIFEST = (FIXTURES / "kubeadm.yaml").read_text("utf-8")


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, len(_MANIFEST) - 1),
    st.integers(0, 8),
    st.sampled_from(["", " ", "\n", "- ", "[", "{", '"', "&a ", "#"]),
)
def test_a_damaged_manifest_is_changed_rightly_or_refused(at, cut, put_in):
    """A manifest with a hole in it gains one flag and loses nothing, or is refused by name; nothing else is raised."""
    text = _MANIFEST[:at] + put_in + _MANIFEST[at + cut :]
    path, refused = ("spec", "containers", 0, "command"), None
    try:
        document = read(text)
        new = append(document, path, "--audit-log-maxage=30")
    except EditError as exc:
        refused = exc
    if refused is not None:
        assert 1 <= refused.line <= text.count("\n") + 2
        return
    assert _is_subsequence(text.splitlines(), new.text.splitlines()) or document.node(path).flow_style
    assert new.data(path) == [*document.data(path), "--audit-log-maxage=30"]
