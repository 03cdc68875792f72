"""`init-server` and the ways of `serve` that end at once: what a person sees, and the exit codes."""

from pathlib import Path

import pytest

from kubewitness.cli.main import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_nothing_to_a_good_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it wrote, what comes next, where the traps are; `serve --check` accepts it; again, all is kept."""
    place = tmp_path / "k"
    words = ("init-server", str(place), "--cluster", "prod", "--address", "10.0.0.5")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert f"wrote  {place / 'kubewitness.yaml'}\n" in out
    for trap in (
        "host networking",
        "bootstrap",
        "--audit-webhook-initial-backoff=30s",
        "blocking",
        "ca.key",
        "*.vkey",
    ):
        assert trap in out
    assert "127.0.0.1: right only" not in out
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80
    code, out, _ = run(capsys, "serve", "--config", str(place / "kubewitness.yaml"), "--check")
    assert (code, out) == (0, f"{place / 'kubewitness.yaml'}: good; clusters: prod; data: {place / 'data'}\n")
    code, out, _ = run(capsys, *words)
    assert "wrote" not in out
    assert out.count("kept   ") == 9


def test_another_cluster_is_added_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration is not touched; what to add to it is printed."""
    run(capsys, "init-server", str(tmp_path))
    code, out, _ = run(capsys, "init-server", str(tmp_path), "--cluster", "dev")
    assert code == 0
    assert "under clusters:\n- name: dev\n  certificates:\n  - commonName: kube-apiserver:dev\n" in out
    assert "127.0.0.1: right only" in out


def test_renewal_takes_the_clusters_of_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--renew needs no names; it says who must be told."""
    run(capsys, "init-server", str(tmp_path), "--cluster", "prod")
    before = (tmp_path / "apiserver-prod.crt").read_bytes()
    code, out, _ = run(capsys, "init-server", str(tmp_path), "--renew")
    assert code == 0
    assert "restart kube-apiserver, one node" in out
    assert (tmp_path / "apiserver-prod.crt").read_bytes() != before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("init-server", "{}", "--cluster", "_operator"), "cannot be the name of a cluster"),
        (("init-server", "{}", "--cluster", "a\nb"), "cannot be the name of a cluster"),
        (("init-server", "{}", "--port", "0"), "0 is not a port"),
        (("serve",), "give --config FILE, or --data DIR"),
        (("serve", "--config", "x", "--data", "y"), "give --config FILE, or --data DIR"),
        (("serve", "--config", "{}/none.yaml"), "none.yaml: No such file"),
        (("serve", "--data", "{}/d", "--listen", "here"), "'here' is not an address"),
        (("serve", "--data", "{}/d", "--print-systemd-unit"), "needs --config"),
    ],
)
def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    """Exit code 2, one line that says what to do, no traceback."""
    code, _, err = run(capsys, *(word.replace("{}", str(tmp_path)) for word in words))
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_the_unit_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A unit for this configuration."""
    run(capsys, "init-server", str(tmp_path))
    code, out, _ = run(capsys, "serve", "--config", str(tmp_path / "kubewitness.yaml"), "--print-systemd-unit")
    assert code == 0
    assert f"serve --config {tmp_path / 'kubewitness.yaml'}\n" in out
    assert f"ReadWritePaths={tmp_path / 'data'} {tmp_path / 'data.keys'}\n" in out
