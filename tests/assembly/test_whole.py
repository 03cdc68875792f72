"""From a request to its proof: emit's webhook posts with the kubeconfig of init-server to a real server."""

import json
import socket
import subprocess
from pathlib import Path

from kubewitness.cli.main import main
from kubewitness.event.identity import canonical_bytes
from tests.assembly.serving import DATA, PROGRAM, Site, event, event_list, serving


class Made(Site):
    """A site as init-server makes it, on a port that is free."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        assert main(["init-server", str(place), "--cluster", "prod", "--port", str(port)]) == 0
        self.place, self.data, self.clusters = place, place / "data", ("prod",)
        self.config = place / "kubewitness.yaml"
        text = self.config.read_text().replace(f'":{port}"', f'"127.0.0.1:{port}"')
        self.config.write_text(text.replace(":9440", ":0").replace(":9441", ":0"))


def test_what_is_requested_is_stored_and_proved(tmp_path: Path) -> None:
    """Events that emit writes to a log and posts to the server are the same in both; the store verifies."""
    site = Made(tmp_path / "site")
    requests = [
        {"method": "GET", "requestURI": f"/api/v1/namespaces/shop/secrets/s{number}?n=ü", "user": "alice"}
        for number in range(1000)
    ]
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(one) + "\n" for one in requests))
    with serving(site):
        done = subprocess.run(
            [
                *PROGRAM,
                "emit",
                f"--audit-policy-file={DATA / 'policies' / 'metadata.yaml'}",
                f"--audit-webhook-config-file={site.place / 'apiserver-prod.kubeconfig'}",
                f"--audit-log-path={tmp_path / 'audit.log'}",
                str(tmp_path / "requests.jsonl"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    logged = [canonical_bytes(line) for line in (tmp_path / "audit.log").read_bytes().splitlines()]
    stored = [canonical_bytes(line) for line in site.lines("prod")]
    assert len(stored) >= 1000
    assert sorted(stored) == sorted(logged)
    assert main(["verify", "--data", str(site.data)]) == 0


def test_renewed_certificates_are_taken_while_it_runs(tmp_path: Path) -> None:
    """After init-server --renew the running server shows its new certificate, and old and new clients are served."""
    site = Made(tmp_path / "site")
    with serving(site) as server:
        old = (site.place / "apiserver-prod.crt").read_bytes(), (site.place / "apiserver-prod.key").read_bytes()
        assert main(["init-server", str(site.place), "--renew"]) == 0
        server.wait_for("reloaded")
        (site.place / "old.crt").write_bytes(old[0])
        (site.place / "old.key").write_bytes(old[1])
        for number, name in enumerate(("old", "apiserver-prod")):
            with server.client(name) as client:
                assert client.post(event_list(event(number)))[0] == 200
        with server.raw_client("apiserver-prod") as connection:
            shown = connection.getpeercert(binary_form=True)
        import ssl

        assert shown is not None
        assert ssl.DER_cert_to_PEM_cert(shown) == (site.place / "server.crt").read_text()
