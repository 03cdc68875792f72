"""What is no Event is kept: exactly, privately, once, within bounds."""

import hmac
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.receiver.body import Odd
from kubewitness.keep.receiver.quarantine import Quarantine, read_quarantined
from kubewitness.keep.store.errors import UnavailableError


def identity(raw: bytes) -> bytes:
    return hmac.digest(b"k" * 32, raw, "sha256")[:16]


def opened(path: Path, limit: int = 10_000) -> Quarantine:
    with DiskDirectory.at(path) as root:
        return Quarantine(root, identity, limit)


def test_pieces_come_back(tmp_path: Path) -> None:
    """Place, reason and bytes of each piece, newlines and all."""
    pieces = [Odd(0, "torn", b'{"a\n'), Odd(17, "ünknown", bytes(range(256)))]
    quarantine = opened(tmp_path)
    quarantine.keep(pieces, 7, "webhook:x")
    quarantine.close()
    (path,) = (tmp_path / "quarantine").iterdir()
    assert read_quarantined(path.read_bytes()) == pieces
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_are_named_by_a_keyed_hash(tmp_path: Path) -> None:
    """T23: nothing that was sent is in a name, and who has no key cannot look content up by it."""
    quarantine = opened(tmp_path)
    quarantine.keep([Odd(0, "x", b"../../../etc/passwd")], 7, "../../source")
    quarantine.close()
    (path,) = (tmp_path / "quarantine").iterdir()
    assert path.name == identity(b"../../../etc/passwd").hex() + ".kept"


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    """Also over a restart."""
    for _ in range(2):
        quarantine = opened(tmp_path)
        for _ in range(2):
            quarantine.keep([Odd(0, "x", b"same")], 7, "s")
        size = quarantine.bytes
        quarantine.close()
    (path,) = (tmp_path / "quarantine").iterdir()
    assert size == path.stat().st_size


def test_it_is_bounded(tmp_path: Path) -> None:
    """When it is full nothing is thrown away: it cannot be kept, and so it cannot be acknowledged."""
    quarantine = opened(tmp_path, 300)
    quarantine.keep([Odd(0, "x", b"a" * 100)], 7, "s")
    with pytest.raises(UnavailableError, match="limit is 300"):
        quarantine.keep([Odd(0, "x", b"b" * 200)], 7, "s")
    quarantine.close()


@pytest.mark.parametrize(
    "data", [b"", b"{}\n", b"no JSON\nx", b'{"version":1,"pieces":[]}\nx', b'{"version":2,"pieces":[]}\n']
)
def test_other_files_are_refused(data: bytes) -> None:
    """A file that is none, of another version, or with bytes that nobody speaks of."""
    with pytest.raises(ValueError, match=r"."):
        read_quarantined(data)
