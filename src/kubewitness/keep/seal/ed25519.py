"""
Keys that sign heads: Ed25519, in the text forms of C2SP signed-note.

A private key is one line, `PRIVATE+KEY+<name>+<hash>+<base64 of type and seed>`, as Go's x/mod/sumdb/note writes it.
"""

import base64
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.seal.note import ED25519, VerifierKey, make_verifier_key, strict_base64

SEED_BYTES = 32
_PREFIX = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class Ed25519Signer:
    """A private key with its name. Its text form is a secret, so it is not in the representation."""

    key: VerifierKey
    seed: bytes = field(repr=False)
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def make(cls, name: str, seed: bytes) -> "Ed25519Signer":
        """Make a key of 32 random bytes. Raises NoteError for a bad name, ValueError for another length."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(make_verifier_key(name, private.public_key().public_bytes_raw()), seed, private)

    @classmethod
    def parse(cls, text: str) -> "Ed25519Signer":
        """Read a private key. Raises NoteError, whose text never holds the key."""
        parts = text.strip().removeprefix(_PREFIX).split("+", 2)
        if not text.startswith(_PREFIX) or len(parts) != 3:
            raise NoteError(f"not a private key ({_PREFIX}<name>+<hash>+<base64>)")
        name, hash_text, encoded = parts
        raw = strict_base64(encoded, "private key")
        if len(raw) != 1 + SEED_BYTES or raw[0] != ED25519:
            raise NoteError(f"private key of {name!r} is not an Ed25519 key")
        signer = cls.make(name, raw[1:])
        if signer.key_id.hex() != hash_text:
            raise NoteError(f"private key of {name!r} says hash {hash_text}, its key has {signer.key_id.hex()}")
        return signer

    @property
    def name(self) -> str:
        """The key's name."""
        return self.key.name

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signatures name it."""
        return self.key.key_id

    def sign(self, message: bytes) -> bytes:
        """Give the signature of `message`, 64 bytes."""
        return self._private.sign(message)

    def private_text(self) -> str:
        """Give the line that `parse` reads."""
        encoded = base64.b64encode(bytes([ED25519]) + self.seed).decode()
        return f"{_PREFIX}{self.name}+{self.key_id.hex()}+{encoded}"


@dataclass(frozen=True, slots=True)
class Ed25519Verifier:
    """A public key that checks signatures."""

    key: VerifierKey
    _public: Ed25519PublicKey = field(repr=False, compare=False)

    @classmethod
    def of(cls, key: VerifierKey) -> "Ed25519Verifier":
        """Make it of a verifier key. Raises NoteError for one that is not Ed25519."""
        if key.key_type != ED25519 or len(key.public_key) != SEED_BYTES:
            raise NoteError(f"verifier key of {key.name!r} is not an Ed25519 key")
        return cls(key, Ed25519PublicKey.from_public_bytes(key.public_key))

    @property
    def name(self) -> str:
        """The key's name."""
        return self.key.name

    @property
    def key_id(self) -> bytes:
        """The four bytes by which signatures name it."""
        return self.key.key_id

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's signature of `message`."""
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True
