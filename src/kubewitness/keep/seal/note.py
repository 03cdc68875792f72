"""
Signed notes: a text, and under it the signatures of those who stand by it.

A signature names its key by name and by a four-byte hash, so keys can rotate and witnesses can add theirs.
Signing and checking the bytes is left to the `Signer` and `Verifier` handed in (Ed25519 where they are made).

Follows C2SP signed-note 1.0; reads up to `MAX_SIGNATURES`, more than the 16 that the specification asks for.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubewitness.keep.seal.errors import NoteError

ED25519 = 0x01
"""Signature type of plain Ed25519 over the note's text."""
MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100

_SIGNATURE_LINE = re.compile(r"— (\S+) (\S+)")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Signer(Protocol):
    """A key that can sign."""

    @property
    def name(self) -> str:
        """The key's name."""
        ...

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signatures name it."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Give the signature of `message`."""
        ...


class Verifier(Protocol):
    """A key that can check."""

    @property
    def name(self) -> str:
        """The key's name."""
        ...

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signatures name it."""
        ...

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's signature of `message`."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: whose key, and the bytes."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text ending in a newline, and its signatures. `signatures` of a parsed note are not yet checked."""

    text: str
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What a verifier is known by: `<name>+<hash>+<base64 of type and key>`."""

    name: str
    key_id: bytes
    key_type: int
    public_key: bytes

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.key_type]) + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"


def is_key_name(name: str) -> bool:
    """Tell whether a key may be called so: not empty, no white space, no plus."""
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def key_id(name: str, key_type: int, public_key: bytes) -> bytes:
    """Give the four bytes by which signatures name a key: SHA-256(name || 0x0A || type || key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([key_type]) + public_key).digest()[:4]


def make_verifier_key(name: str, public_key: bytes, key_type: int = ED25519) -> VerifierKey:
    """Describe a public key for those who will verify. Raises NoteError for a bad name."""
    if not is_key_name(name):
        raise NoteError(f"a key cannot be named {name!r}: white space and '+' are not allowed")
    return VerifierKey(name, key_id(name, key_type, public_key), key_type, public_key)


def parse_verifier_key(text: str) -> VerifierKey:
    """Read `<name>+<hash>+<base64>`. Raises NoteError, also when the hash is not that of the key."""
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not is_key_name(parts[0]):
        raise NoteError(f"not a verifier key (<name>+<hash>+<base64>): {text!r}")
    name, hash_text, encoded = parts
    raw = strict_base64(encoded, "verifier key")
    if len(raw) < 2:
        raise NoteError(f"verifier key of {name!r} holds no key")
    key = make_verifier_key(name, raw[1:], raw[0])
    if key.key_id.hex() != hash_text:
        raise NoteError(f"verifier key of {name!r} says hash {hash_text}, its key has {key.key_id.hex()}")
    return key


def sign(text: str, signers: Iterable[Signer]) -> Note:
    """Sign a text. Raises NoteError for a text that cannot be a note."""
    _check_text(text)
    message = text.encode()
    return Note(text, tuple(Signature(s.name, s.key_id, s.sign(message)) for s in signers))


def format_note(note: Note) -> bytes:
    """Write a note: the text, an empty line, a line for each signature."""
    lines = [
        f"— {s.name} {base64.b64encode(s.key_id + s.signature).decode()}\n"  # em dash, as specified
        for s in note.signatures
    ]
    return (note.text + "\n" + "".join(lines)).encode()


def parse_note(data: bytes) -> Note:
    """Read a note without checking its signatures. Raises NoteError with the one thing that is wrong."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(f"note of {len(data)} bytes is larger than {MAX_NOTE_BYTES}")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError(f"note is not UTF-8 at byte {error.start}") from error
    if _CONTROL.search(whole):
        raise NoteError("note must not hold control characters")
    text, separator, signature_block = whole.rpartition("\n\n")
    if not separator:
        raise NoteError("note has no empty line between text and signatures")
    text += "\n"
    _check_text(text)
    if not signature_block.endswith("\n"):
        raise NoteError("note does not end with a newline")
    lines = signature_block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"note has {len(lines)} signatures, more than {MAX_SIGNATURES}")
    return Note(text, tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE_LINE.fullmatch(line)
    if not match or not is_key_name(match[1]):
        raise NoteError(f"not a signature line: {line!r}")
    raw = strict_base64(match[2], f"signature of {match[1]!r}")
    if len(raw) < 5:
        raise NoteError(f"signature of {match[1]!r} is too short: {len(raw)} bytes")
    return Signature(match[1], raw[:4], raw[4:])


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteError("text of a note must end with a newline")
    if _CONTROL.search(text):
        raise NoteError("text of a note must not hold control characters")


def strict_base64(encoded: str, what: str) -> bytes:
    """Decode standard base64 that is spelt in the only way for its bytes. Raises NoteError."""
    try:
        raw = base64.b64decode(encoded, validate=True)
    except ValueError as error:  # of letters that are not ASCII; binascii.Error of others is one too
        raise NoteError(f"{what} is not base64") from error
    if base64.b64encode(raw).decode() != encoded:
        raise NoteError(f"{what} is not canonical base64")
    return raw


def verified_by(note: Note, verifiers: Sequence[Verifier]) -> list[str]:
    """Give the names of the known keys that signed this note.

    Signatures of unknown keys are passed over. Raises NoteError when a known key's signature is wrong or
    stands twice, and when no known key signed.
    """
    message = note.text.encode()
    known = {(v.name, v.key_id): v for v in verifiers}
    if len(known) != len(verifiers):
        raise NoteError("two of the keys given have the same name and hash")
    names: list[str] = []
    seen: set[tuple[str, bytes]] = set()
    for signature in note.signatures:
        identity = (signature.name, signature.key_id)
        verifier = known.get(identity)
        if verifier is None:
            continue
        if identity in seen:
            raise NoteError(f"key {signature.name!r} signed twice")
        seen.add(identity)
        if not verifier.verify(message, signature.signature):
            raise NoteError(f"signature of {signature.name!r} is wrong")
        names.append(signature.name)
    if not names:
        signed = ", ".join(f"{s.name}+{s.key_id.hex()}" for s in note.signatures)
        raise NoteError(f"no known key signed this note; it carries: {signed}")
    return names
