"""Signed notes and checkpoints: round trips, and every malformed one refused."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.keep.seal import note as notes
from kubewitness.keep.seal.checkpoint import Checkpoint, parse_checkpoint
from kubewitness.keep.seal.errors import NoteError


class HmacKey:
    """An honest stand-in for a signature scheme: the notes do not care which."""

    def __init__(self, name, secret):
        self.name = name
        self._secret = secret
        self.key_id = notes.key_id(name, 0xFE, secret)

    def sign(self, message):
        return hmac.digest(self._secret, message, "sha256")

    def verify(self, message, signature):
        return hmac.compare_digest(self.sign(message), signature)


KEY, WITNESS, OTHER = HmacKey("example.org/log", b"k1"), HmacKey("witness", b"k2"), HmacKey("example.org/log", b"k3")
ROOT = hashlib.sha256(b"root").digest()
TEXT = Checkpoint("example.org/log", 42, ROOT).text()
SIGNED = notes.format_note(notes.sign(TEXT, [KEY, WITNESS]))


def test_a_signed_note_reads_back_and_names_its_signers():
    """Text and signatures survive, signatures of known keys count, those of others are passed over."""
    note = notes.parse_note(SIGNED)
    assert note.text == TEXT
    assert notes.verified_by(note, [KEY, WITNESS]) == ["example.org/log", "witness"]
    assert notes.verified_by(note, [WITNESS]) == ["witness"]


def test_the_format_is_that_of_the_specification():
    """Text, empty line, em dash, name, base64 of key hash and signature."""
    expected = base64.b64encode(KEY.key_id + KEY.sign(TEXT.encode())).decode()
    assert notes.format_note(notes.sign(TEXT, [KEY])).decode() == f"{TEXT}\n— example.org/log {expected}\n"


def test_a_known_verifier_key():
    """The key of the Go checksum database, as the Go tool prints it."""
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    key = notes.parse_verifier_key(text)
    assert (key.name, key.key_type, len(key.public_key)) == ("sum.golang.org", notes.ED25519, 32)
    assert str(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.com+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae",
        "+033de0ae+AA==",
        "a b+033de0ae+AAAA",
        "a+033de0ae+AA=",
        "a+033de0ae+",
    ],
)
def test_a_wrong_verifier_key_is_refused(text):
    """A key whose name, hash or spelling is off is not read."""
    with pytest.raises(NoteError):
        notes.parse_verifier_key(text)


@given(st.integers(0, len(SIGNED) - 1), st.integers(1, 255))
def test_a_changed_byte_never_verifies(at, change):
    """Any one changed byte: malformed, or not signed by both."""
    changed = bytearray(SIGNED)
    changed[at] ^= change
    try:
        note = notes.parse_note(bytes(changed))
        signers = notes.verified_by(note, [KEY, WITNESS])
    except NoteError:
        return
    assert note.text == TEXT
    assert len(signers) == 1  # the other's name or key hash was changed, so it is a stranger's signature


LINE = SIGNED.splitlines(keepends=True)[-1]


@given(st.integers(0, len(SIGNED) - 1))
def test_a_cut_note_never_verifies_in_full(length):
    """A torn checkpoint file is refused; cut between its signature lines it has lost a signer."""
    if length == len(SIGNED) - len(LINE):
        assert notes.verified_by(notes.parse_note(SIGNED[:length]), [KEY, WITNESS]) == ["example.org/log"]
    else:
        with pytest.raises(NoteError):
            notes.parse_note(SIGNED[:length])


def _lines(*extra):
    return SIGNED + b"".join(extra)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        b"no newline at the end\n\n" + LINE[:-1],
        b"tab\t\n\n" + LINE,
        b"carriage\r\n\n" + LINE,
        b"\xff\n\n" + LINE,
        _lines(b"- a AAAAAAA=\n"),
        _lines("— a\n".encode()),
        _lines("— a AAAA\n".encode()),
        _lines("— a AAAAAAB=\n".encode()),
        _lines("— a+b AAAAAAA=\n".encode()),
        _lines("— a  AAAAAAA=\n".encode()),
        _lines("— a AAAAAAÄ=\n".encode()),
        _lines("— a\x00b AAAAAAA=\n".encode()),
        SIGNED + LINE * notes.MAX_SIGNATURES,
        b"x" * (notes.MAX_NOTE_BYTES + 1),
    ],
)
def test_a_malformed_note_is_refused(data):
    """Each with one deliberate sentence, never another exception."""
    with pytest.raises(NoteError):
        notes.parse_note(data)


def test_sixteen_signatures_are_accepted():
    """The specification asks for at least so many."""
    keys = [HmacKey(f"witness{i}", b"k%d" % i) for i in range(16)]
    note = notes.parse_note(notes.format_note(notes.sign(TEXT, keys)))
    assert len(notes.verified_by(note, keys)) == 16


def test_a_key_that_signs_twice_is_refused():
    """A repeated signature is not a second witness."""
    with pytest.raises(NoteError, match="twice"):
        notes.verified_by(notes.parse_note(SIGNED + LINE), [KEY, WITNESS])


def test_an_old_key_of_the_same_name_is_a_stranger():
    """Names alone prove nothing; the hash of the key counts."""
    with pytest.raises(NoteError, match="no known key"):
        notes.verified_by(notes.parse_note(SIGNED), [OTHER])


def test_a_text_that_cannot_be_a_note_is_not_signed():
    """Signing refuses what parsing would refuse."""
    for text in ("", "no newline", "bell\a\n"):
        with pytest.raises(NoteError):
            notes.sign(text, [KEY])


def test_a_checkpoint_reads_back():
    """Origin, size, root and the extension lines of others."""
    checkpoint = Checkpoint("example.org/log", 7, ROOT, ("more",))
    assert parse_checkpoint(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        "\n1\nAA==\n",
        "o\n01\n",
        "o\n-1\nx\n",
        "o\n1\nAA==\n",
        f"o\n1\n{base64.b64encode(ROOT).decode()}",
        f"o\n9223372036854775808\n{base64.b64encode(ROOT).decode()}\n",
        f"o\n1\n{base64.b64encode(ROOT).decode()}\n\n",
        f"o\n١\n{base64.b64encode(ROOT).decode()}\n",
    ],
)
def test_a_malformed_checkpoint_is_refused(text):
    """Each line that is wrong is named."""
    with pytest.raises(NoteError):
        parse_checkpoint(text)
