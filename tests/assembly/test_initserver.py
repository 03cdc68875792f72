"""What init-server writes: complete, private, never over what is there, and used by a real server and client."""

import base64
import datetime as dt
import ssl
from pathlib import Path

import pytest
import yaml

from kubewitness.assembly.certificates import expires, names_of
from kubewitness.assembly.config import admission, read_config
from kubewitness.assembly.initserver import client_name, file_name, init_server, systemd_unit
from kubewitness.assembly.trial import trial_config

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)


def test_what_is_made_works_together(tmp_path: Path) -> None:
    """The configuration is read, certificates fit, the kubeconfig has the client's certificate and the server's CA."""
    made = init_server(tmp_path / "s", ["prod", "x.y z"], ["10.0.0.5", "audit.example"], now=NOW)
    assert not made.kept
    config = read_config(tmp_path / "s" / "kubewitness.yaml")
    assert [cluster.name for cluster in config.clusters] == ["prod", "x.y z"]
    admission(config)
    kubeconfig = yaml.safe_load((tmp_path / "s" / "apiserver-prod.kubeconfig").read_text())
    assert kubeconfig["clusters"][0]["cluster"]["server"] == "https://10.0.0.5:9443/"
    user = kubeconfig["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    )
    (tmp_path / "c").write_bytes(base64.b64decode(user["client-certificate-data"]))
    (tmp_path / "k").write_bytes(base64.b64decode(user["client-key-data"]))
    context.load_cert_chain(tmp_path / "c", tmp_path / "k")
    secret = [path.name for path in (tmp_path / "s").iterdir() if path.stat().st_mode & 0o077 == 0]
    assert sorted(secret) == sorted(
        ["ca.key", "server.key"]
        + [f"apiserver-{name}.{kind}" for name in ("prod", "x.y-z") for kind in ("key", "kubeconfig")]
    )


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """Every file is as it was; another cluster only adds its own."""
    init_server(tmp_path, ["prod"], ["10.0.0.5"], now=NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    made = init_server(tmp_path, ["prod"], ["10.0.0.5"], now=NOW)
    assert not made.written
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    made = init_server(tmp_path, ["prod", "dev"], ["10.0.0.5"], now=NOW)
    assert (
        sorted(made.written) == ["apiserver-dev.crt", "apiserver-dev.kubeconfig", "apiserver-dev.key"]
        or len(made.written) == 3
    )
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_renewal_keeps_authority_and_names(tmp_path: Path) -> None:
    """New keys and later ends for server and clients; authority, names and configuration stay."""
    init_server(tmp_path, ["prod"], ["10.0.0.5", "audit.example"], now=NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    later = NOW + dt.timedelta(days=300)
    init_server(tmp_path, ["prod"], ["127.0.0.1"], renew=True, now=later)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {
        "server.crt",
        "server.key",
        "apiserver-prod.crt",
        "apiserver-prod.key",
        "apiserver-prod.kubeconfig",
    }
    assert names_of(after["server.crt"]) == ["10.0.0.5", "audit.example"]
    assert expires(after["server.crt"]) == later + dt.timedelta(days=397)
    assert b"https://10.0.0.5:9443/" in after["apiserver-prod.kubeconfig"]


def test_half_of_a_pair_is_not_replaced(tmp_path: Path) -> None:
    """A key without its certificate, or the other way round, is for a person to look at."""
    init_server(tmp_path, ["prod"], ["10.0.0.5"], now=NOW)
    for name in ("ca.key", "server.key", "apiserver-prod.crt"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            init_server(tmp_path, ["prod"], ["10.0.0.5"], now=NOW)
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_bytes(kept)


def test_clusters_whose_files_would_be_one(tmp_path: Path) -> None:
    """Two names that make one file name do not get one certificate."""
    with pytest.raises(ValueError, match="of another cluster"):
        init_server(tmp_path, ["a/b", "a-b"], ["10.0.0.5"], now=NOW)
    assert file_name("../..") not in ("..", ".", "")
    assert "/" not in file_name("../../etc/passwd")
    assert len(client_name("x" * 300)) == 64


def test_a_trial_needs_nothing(tmp_path: Path) -> None:
    """A data directory is enough; a second time the same certificates serve."""
    first = trial_config(tmp_path / "d", ("127.0.0.1", 9443))
    pem = first.tls.certificate.read_bytes()
    second = trial_config(tmp_path / "d", ("127.0.0.1", 9443))
    assert (first.data, second.tls.certificate.read_bytes()) == (tmp_path / "d", pem)
    admission(second)


def test_the_unit_is_hardened() -> None:
    """The unit gives the server its data and its keys, and nothing else to write."""
    unit = systemd_unit(Path("/etc/k/kubewitness.yaml"), Path("/var/lib/k/data"))
    assert "ExecStart=/usr/local/bin/kubewitness serve --config /etc/k/kubewitness.yaml\n" in unit
    assert "ReadWritePaths=/var/lib/k/data /var/lib/k/data.keys\n" in unit
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "UMask=0077", "Type=notify"):
        assert f"{line}\n" in unit
