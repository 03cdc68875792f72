"""Whatever signed note ours accepts, Go's checksum database accepts too, with the same text; ours may be stricter."""

import base64
import hashlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubewitness.keep.seal.checkpoint import Checkpoint
from kubewitness.keep.seal.ed25519 import Ed25519Signer, Ed25519Verifier
from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.seal.note import MAX_SIGNATURES, format_note, parse_note, sign, verified_by

SIGNERS = [Ed25519Signer.make(name, bytes([n]) * 32) for n, name in enumerate(["example.com/log", "w1", "w2"], 1)]
STRANGER = Ed25519Signer.make("stranger", b"s" * 32)
VERIFIERS = [Ed25519Verifier.of(signer.key) for signer in SIGNERS]
DASH = "\u2014".encode()


def good(size: int, *signers: Ed25519Signer) -> bytes:
    return format_note(sign(Checkpoint("example.com/log", size, bytes([size % 256]) * 32).text(), signers))


def ours(note: bytes) -> str:
    try:
        parsed = parse_note(note)
        verified_by(parsed, VERIFIERS)
    except NoteError:
        return "rejected"
    return f"accepted {hashlib.sha256(parsed.text.encode()).hexdigest()}"


def theirs(go_programs: Path, keys: Path, notes: list[bytes]) -> list[str]:
    keys.write_text("".join(f"{signer.key}\n" for signer in SIGNERS))
    data = b"".join(len(note).to_bytes(4) + note for note in notes)
    done = subprocess.run([go_programs / "notes", str(keys)], input=data, capture_output=True, check=True)
    return [line if line.startswith("accepted") else "rejected" for line in done.stdout.decode().splitlines()]


def line_of(signer: Ed25519Signer, raw: bytes) -> bytes:
    return DASH + f" {signer.name} {base64.b64encode(signer.key_id + raw).decode()}\n".encode()


def cases() -> dict[str, bytes]:
    one = good(7, SIGNERS[0])
    text, _, line = one.partition(b"\n\n")
    return {
        "one signature": one,
        "three signatures": good(7, *SIGNERS),
        "a stranger's beside it": good(7, STRANGER, SIGNERS[0]),
        "a stranger's alone": good(7, STRANGER),
        "sixteen strangers and ours": good(
            7, *[Ed25519Signer.make(f"n{n}", bytes([n]) * 32) for n in range(16)], SIGNERS[0]
        ),
        "no signature": text + b"\n\n",
        "no empty line": text + b"\n" + line,
        "twice the same": one + line,
        "a wrong one beside a right one": one + line_of(SIGNERS[1], bytes(64)),
        "text after the signatures": one + b"more\n",
        "no newline at the end": one[:-1],
        "an empty line at the end": one + b"\n",
        "a carriage return": one.replace(b"\n", b"\r\n"),
        "a control character": one.replace(b"example", b"exam\x01ple", 1),
        "not UTF-8": one.replace(b"example", b"exam\xffple", 1),
        "two empty lines": text + b"\n\n\n" + line,
        "base64 without padding": one.replace(b"=\n", b"\n"),
        "base64 with trailing bits": one[:-3] + bytes([one[-3] + 1]) + one[-2:],
        "a space more": one.replace(DASH + b" ", DASH + b"  "),
        "a hyphen for the dash": one.replace(DASH, b"-"),
        "a signature of four bytes": text + b"\n\n" + line_of(SIGNERS[0], b""),
        "too many signatures": one + b"".join(line_of(STRANGER, bytes([n]) * 64) for n in range(MAX_SIGNATURES)),
        "nothing": b"",
        "a million bytes": good(7, SIGNERS[0]).replace(b"example", b"x" * 1_000_000, 1),
    }


STRICTER = {"twice the same", "base64 with trailing bits"}
"""What Go passes over and ours refuses: a known key that signs twice, base64 that is not the one way to write it."""


def test_odd_notes(go_programs, tmp_path):
    """Both say the same of each, but where ours is stricter on purpose."""
    told = cases()
    answers = dict(zip(told, theirs(go_programs, tmp_path / "keys", list(told.values())), strict=True))
    mine = {name: ours(note) for name, note in told.items()}
    assert {name for name in told if mine[name] != answers[name]} <= STRICTER
    assert all(mine[name] == "rejected" for name in STRICTER)
    accepted = {name for name, answer in mine.items() if answer != "rejected"}
    assert accepted == {"one signature", "three signatures", "a stranger's beside it", "sixteen strangers and ours"}


def mutated(rng: random.Random, count: int) -> Iterator[bytes]:
    """Notes with a few bytes flipped, cut out, doubled, put in, or lines exchanged."""
    for _ in range(count):
        note = bytearray(good(rng.randrange(300), *rng.sample([*SIGNERS, STRANGER], rng.randrange(1, 4))))
        for _ in range(rng.choice((0, 1, 1, 2))):
            at, end = sorted((rng.randrange(len(note)), rng.randrange(len(note))))
            match rng.randrange(6):
                case 0:
                    note[at] ^= 1 << rng.randrange(8)
                case 1:
                    del note[at : min(end, at + 3)]
                case 2:
                    note[at:at] = note[at:end]
                case 3:
                    note[at:at] = rng.choice([b"\n", b" ", b"\n\n", DASH, b"\x00", "\u00a0".encode(), b"+", b"="])
                case 4:
                    lines = bytes(note).split(b"\n")
                    rng.shuffle(lines)
                    note = bytearray(b"\n".join(lines))
                case _:
                    lines = bytes(note).split(b"\n")
                    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                    note = bytearray(b"\n".join(lines))
        yield bytes(note)


def compare(go_programs: Path, keys: Path, seed: int, count: int) -> int:
    notes = list(mutated(random.Random(seed), count))
    accepted = 0
    for note, answer in zip(notes, theirs(go_programs, keys, notes), strict=True):
        mine = ours(note)
        accepted += mine != "rejected"
        assert mine in ("rejected", answer), note
    return accepted


def test_mutated_notes(go_programs, tmp_path):
    """Of thousands none is accepted by ours alone, or with another text."""
    assert compare(go_programs, tmp_path / "keys", 1, 3000) > 300


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 22))
def test_many_mutated_notes(go_programs, tmp_path, seed):
    """The same for more."""
    compare(go_programs, tmp_path / "keys", seed, 20_000)
