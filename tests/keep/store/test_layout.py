"""A data directory holds one log a cluster, under names that nobody chooses; keys stand beside it."""

import stat
from pathlib import Path

import pytest

from kubewitness._kit.files import DiskDirectory
from kubewitness.keep.seal.ed25519 import Ed25519Signer, Ed25519Verifier
from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.store.errors import DamagedError, LockedError, NoKeyError
from kubewitness.keep.store.layout import CLUSTER_FILE, DataDir, KeyDir, cluster_dir, default_keys, origin_of


def test_a_cluster_is_made_once_and_found_again(tmp_path: Path) -> None:
    """Its directory is a hash of its name, whatever the name."""
    data = DataDir(tmp_path / "data")
    for name in ("prod", "../../etc", "a b", "日本"):
        root, meta = data.enter(name)
        root.close()
        assert meta.cluster == name
        assert data.log_path(name).name == cluster_dir(name)
    again, meta = data.enter("prod")
    again.close()
    assert meta.origin == "kubewitness.io/log/prod"
    assert set(data.clusters()) == {"prod", "../../etc", "a b", "日本"}
    assert sorted(entry.name for entry in (tmp_path / "data" / "logs").iterdir()) == sorted(
        map(cluster_dir, data.clusters())
    )


def test_no_logs_are_no_clusters(tmp_path: Path) -> None:
    """An empty or missing directory has none, and is not made by looking."""
    assert DataDir(tmp_path / "none").clusters() == {}
    assert not (tmp_path / "none").exists()


def test_origins_can_be_names_of_keys() -> None:
    """A name with blanks or pluses is shown as its hash."""
    assert origin_of("a+b") == f"kubewitness.io/log/{cluster_dir('a+b')}"
    assert origin_of("é") == f"kubewitness.io/log/{cluster_dir('é')}"


@pytest.mark.parametrize(
    "text",
    [b"{}", b"x", b'{"version":2,"cluster":"prod","origin":"o"}', b'{"version":1,"cluster":"other","origin":"o"}'],
)
def test_a_log_that_says_something_else_is_refused(tmp_path: Path, text: bytes) -> None:
    """Of no, another version or another cluster: an error that names the file."""
    data = DataDir(tmp_path)
    data.enter("prod")[0].close()
    (data.log_path("prod") / CLUSTER_FILE).write_bytes(text)
    with pytest.raises(DamagedError, match=r"prod|cluster\.json"):
        data.enter("prod")
    with pytest.raises(DamagedError, match=r"cluster\.json"):
        data.clusters()


def test_keys_are_made_once_readable_by_nobody_else(tmp_path: Path) -> None:
    """Identity and signing keys stay the same, and stand outside of the data."""
    path = default_keys(tmp_path / "data")
    assert path == tmp_path / "data.keys"
    keys = KeyDir(path)
    root, meta = DataDir(tmp_path / "data").enter("prod")
    root.close()
    assert keys.identity() == KeyDir(path).identity()
    [signer] = keys.signers(meta)
    assert [signer.key] == keys.verifiers("prod")
    assert keys.signers(meta) == [signer]
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.iterdir()} == {0o600}


def test_rotation_signs_with_old_and_new(tmp_path: Path) -> None:
    """The new key is first; the one before goes on, the one before that does not, and is known all the same."""
    keys = KeyDir(tmp_path / "keys")
    root, meta = DataDir(tmp_path / "data").enter("prod")
    root.close()
    [first] = keys.signers(meta)
    second = keys.rotate(meta)
    assert keys.signers(meta) == [second, first]
    third = keys.rotate(meta)
    assert keys.signers(meta) == [third, second]
    assert keys.verifiers("prod") == [third.key, second.key, first.key]


def test_a_log_that_is_signed_gets_no_key_that_nobody_knows(tmp_path: Path) -> None:
    """Where its key is not there none is made, unless somebody says that the old one is to sign no more."""
    root, meta = DataDir(tmp_path / "data").enter("prod")
    root.close()
    keys = KeyDir(tmp_path / "elsewhere")
    for call in (lambda: keys.signers(meta, is_signed=True), lambda: keys.rotate(meta)):
        with pytest.raises(NoKeyError, match=r"heads of prod were signed, and .*elsewhere has no key of it"):
            call()
    assert not keys.path.exists()
    new = keys.rotate(meta, keep=0)
    assert keys.signers(meta, is_signed=True) == [new]


def test_two_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    """The second is refused, and changes nothing: else a key that was shown would sign nothing."""
    root, meta = DataDir(tmp_path / "data").enter("prod")
    root.close()
    keys = KeyDir(tmp_path / "keys")
    signers = keys.signers(meta)
    with DiskDirectory.at(keys.path) as other, other.lock("lock"):
        with pytest.raises(LockedError, match="another process changes these keys"):
            keys.rotate(meta)
        assert keys.signers(meta) == signers
    assert keys.rotate(meta) == keys.signers(meta)[0]


def test_a_public_key_that_a_crash_kept_back_is_shown_at_the_next_start(tmp_path: Path) -> None:
    """The private key was written, the public one not."""
    keys = KeyDir(tmp_path / "keys")
    root, meta = DataDir(tmp_path / "data").enter("prod")
    root.close()
    [first] = keys.signers(meta)
    (shown,) = (tmp_path / "keys").glob("*.vkey")
    before = shown.read_bytes()
    second = keys.rotate(meta)
    shown.write_bytes(before)
    assert keys.signers(meta) == [second, first]
    assert keys.verifiers("prod") == [second.key, first.key]


def test_a_broken_identity_key_is_refused(tmp_path: Path) -> None:
    """A short key would make other identities than before."""
    keys = KeyDir(tmp_path / "keys")
    keys.identity()
    (tmp_path / "keys" / "identity.key").write_text("abcd")
    with pytest.raises(DamagedError, match=r"identity\.key"):
        keys.identity()


def test_a_key_signs_what_its_public_half_checks() -> None:
    """RFC 8032 test 1: the public key and the signature of the empty message; no other message passes."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signer = Ed25519Signer.make("example.com/log", seed)
    assert signer.key.public_key.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = signer.sign(b"")
    assert signature.hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155")
    verifier = Ed25519Verifier.of(signer.key)
    assert (verifier.name, verifier.key_id) == (signer.name, signer.key_id)
    assert verifier.verify(b"", signature)
    assert not verifier.verify(b"x", signature)
    assert Ed25519Signer.parse(signer.private_text()) == signer
    assert seed.hex() not in repr(signer)


@pytest.mark.parametrize("change", [lambda t: t[:-4], lambda t: t.replace("PRIVATE", "PUBLIC"), lambda t: "x" + t])
def test_a_private_key_that_is_none_is_refused_without_showing_it(change) -> None:
    """Cut, mislabelled or shifted."""
    text = Ed25519Signer.make("n", b"\x01" * 32).private_text()
    with pytest.raises(NoteError) as caught:
        Ed25519Signer.parse(change(text))
    assert text.split("+")[-1][:20] not in str(caught.value)
