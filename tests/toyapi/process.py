"""Start the toy API server in a process of its own, with certificates, tokens, kubeconfigs and an audit log."""

import contextlib
import datetime as dt
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
KUBECTL = Path(sys.executable).parent / "kubectl"
METADATA = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
USERS = {
    "admin": ("system:masters",),
    "alice": ("developers",),
    "mallory": (),
}
"""Those with a token `<name>-token`; nobody but admin is allowed anything to begin with."""


@dataclass
class Running:
    """A running toy API server."""

    url: str
    folder: Path
    audit_log: Path
    ca: Path
    process: subprocess.Popen = field(repr=False)

    def kubeconfig(self, user: str = "admin", token: str | None = None) -> Path:
        """Give the kubeconfig of this user, who shows a token."""
        auth = f"token: {token or f'{user}-token'}"
        return self._kubeconfig(user, auth)

    def certificate_kubeconfig(self, name: str, *groups: str) -> Path:
        """Give a kubeconfig of a user who shows a client certificate. Only over TLS."""
        cert, key = certificate(self.folder, f"client-{name}", name, groups, self.folder / "ca")
        return self._kubeconfig(f"cert-{name}", f"client-certificate: {cert}\n    client-key: {key}")

    def _kubeconfig(self, name: str, auth: str) -> Path:
        path = self.folder / f"kubeconfig-{name}"
        authority = f"\n    certificate-authority: {self.ca}" if self.url.startswith("https") else ""
        path.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: toy\n"
            f"clusters:\n- name: toy\n  cluster:\n    server: {self.url}{authority}\n"
            f"users:\n- name: {name}\n  user:\n    {auth}\n"
            f"contexts:\n- name: toy\n  context:\n    cluster: toy\n    user: {name}\n    namespace: default\n"
        )
        return path

    def kubectl(
        self, *arguments: str, user: str = "admin", kubeconfig: Path | None = None, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run real kubectl as this user."""
        config = kubeconfig or self.kubeconfig(user)
        cache = self.folder / "kubectl-cache"
        done = subprocess.run(
            [KUBECTL, f"--kubeconfig={config}", f"--cache-dir={cache}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"HOME": str(self.folder), "PATH": os.environ["PATH"]},
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def events(self) -> list[dict]:
        """Give what the audit log holds by now."""
        return (
            [json.loads(line) for line in self.audit_log.read_bytes().splitlines()] if self.audit_log.exists() else []
        )

    def stop(self) -> None:
        """Stop the server and wait for its end."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def certificate(
    folder: Path, file: str, name: str, groups: Sequence[str] = (), issuer: Path | None = None
) -> tuple[Path, Path]:
    """Make a certificate for this common name; without an issuer an authority, with 127.0.0.1 as its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [*(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
         x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )  # fmt: skip
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )
    if issuer is None:
        signer = key
        builder = builder.issuer_name(subject).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    else:
        signer = serialization.load_pem_private_key(issuer.with_suffix(".key").read_bytes(), None)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.issuer_name(x509.load_pem_x509_certificate(issuer.with_suffix(".crt").read_bytes()).subject)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    cert_path, key_path = folder / f"{file}.crt", folder / f"{file}.key"
    cert_path.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


@contextlib.contextmanager
def running(
    folder: Path,
    policy: str = METADATA,
    *flags: str,
    tls: bool = True,
    objects: Sequence[dict] = (),
    tokens: dict[str, dict] | None = None,
) -> Iterator[Running]:
    """Run the server on 127.0.0.1 with this policy; further `--audit-*` flags of kube-apiserver may follow.

    The audit log is `audit.log` in the folder unless a flag says otherwise. `tokens`: `{token: {user, groups}}`.
    kubectl shows no token over plain http: without `tls` the server is one for other clients.
    """
    folder.mkdir(parents=True, exist_ok=True)
    policy_file, log = folder / "policy.yaml", folder / "audit.log"
    policy_file.write_text(policy)
    ca, _ = certificate(folder, "ca", "toy authority")
    known = {f"{name}-token": {"user": name, "groups": list(groups)} for name, groups in USERS.items()}
    config = {
        "flags": [f"--audit-policy-file={policy_file}", f"--audit-log-path={log}", *flags],
        "tokens": known | (tokens or {}),
        "objects": list(objects),
        "told": str(folder / "port"),
    }
    if tls:
        cert, key = certificate(folder, "server", "toy", (), folder / "ca")
        config["tls"] = {"cert": str(cert), "key": str(key), "ca": str(ca)}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "port").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.toyapi.server", str(folder / "config.json")]
    with (folder / "server.err").open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stderr=errors, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not (folder / "port").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the toy API server did not start: {(folder / 'server.err').read_text()}")
            time.sleep(0.02)
        port = (folder / "port").read_text()
        scheme = "https" if tls else "http"
        yield Running(f"{scheme}://127.0.0.1:{port}", folder, log, ca, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
