"""
What a webhook request is signed with: the Authorization header, and the client certificate of the connection.

Token files are read again when a minute has passed, certificate files when they changed, exec plugins are run again
when what they gave has expired or was refused. Raises CredentialError; a webhook retries that like any failure.

Follows k8s.io/client-go/transport (token_source.go) and plugin/pkg/client/auth/exec.
"""

import base64
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from kubewitness.emit.backends.kubeconfig import ExecPlugin, Target
from kubewitness.emit.backends.log import reason_of
from kubewitness.event.microtime import SECOND_US, TimeError, parse

TOKEN_FILE_SECONDS = 60
EXEC_SECONDS = 60
Stamp = tuple[int, ...]


class CredentialError(Exception):
    """There is nothing to prove ourselves with right now."""


class _ExecStatus(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    api_version: str = ""
    status: _ExecStatus | None = None


@dataclass(frozen=True, slots=True)
class _Given:
    """What a plugin gave, and until when it holds."""

    token: str
    certificate: bytes
    key: bytes
    expires_s: float | None


class Credentials:
    """The credentials of one target. Thread-safe. `now_s`: seconds since 1970."""

    def __init__(self, target: Target, now_s: Callable[[], float] = time.time) -> None:
        self._target = target
        self._now_s = now_s
        self._lock = threading.Lock()
        self._token = target.token
        self._read_s: float | None = None
        self._given: _Given | None = None

    def authorization(self) -> str:
        """Give the value of the Authorization header; empty when there is none."""
        target = self._target
        with self._lock:
            if target.exec_plugin is not None:
                token = self._from_plugin(target.exec_plugin).token or target.token
            else:
                token = self._from_file()
        if token:
            return f"Bearer {token}"
        if target.username or target.password:
            pair = f"{target.username}:{target.password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return ""

    def refused(self) -> None:
        """Forget what was refused with 401, so that it is asked for anew."""
        with self._lock:
            self._given = None
            self._read_s = None

    def certificate(self) -> tuple[bytes, bytes]:
        """Give the client certificate and its key as they are now; both empty when there are none."""
        target = self._target
        if target.exec_plugin is not None:
            with self._lock:
                given = self._from_plugin(target.exec_plugin)
            if given.certificate:
                return given.certificate, given.key
        certificate, key = target.client_certificate, target.client_key
        try:
            if target.client_certificate_file is not None:
                certificate = target.client_certificate_file.read_bytes()
            if target.client_key_file is not None:
                key = target.client_key_file.read_bytes()
        except OSError as exc:
            raise CredentialError(f"open {exc.filename}: {reason_of(exc)}") from exc
        return certificate, key

    def _from_file(self) -> str:
        path = self._target.token_file
        if path is None:
            return self._token
        now_s = self._now_s()
        if self._read_s is None or now_s - self._read_s >= TOKEN_FILE_SECONDS:
            try:
                token = path.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as exc:
                reason = reason_of(exc) if isinstance(exc, OSError) else str(exc)
                # what was read before may still hold
                if not self._token:
                    raise CredentialError(f"failed to read token file {str(path)!r}: {reason}") from exc
            else:
                self._token = token or self._token
            self._read_s = now_s
        return self._token

    def _from_plugin(self, plugin: ExecPlugin) -> _Given:
        given = self._given
        if given is None or (given.expires_s is not None and self._now_s() >= given.expires_s):
            given = self._given = _run(plugin, self._target)
        return given


def _run(plugin: ExecPlugin, target: Target) -> _Given:
    spec: dict[str, object] = {"interactive": False}
    if plugin.provides_cluster:
        cluster: dict[str, object] = {"server": target.url.partition("?")[0]}
        if target.ca:
            cluster["certificate-authority-data"] = base64.b64encode(target.ca).decode()
        if target.is_insecure:
            cluster["insecure-skip-tls-verify"] = True
        if target.tls_server_name:
            cluster["tls-server-name"] = target.tls_server_name
        spec["cluster"] = cluster
    info = {"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec}
    environment = {**os.environ, **dict(plugin.environment), "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        done = subprocess.run(  # noqa: S603  the kubeconfig says which program
            [plugin.command, *plugin.arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=EXEC_SECONDS,
            check=False,
        )
    except FileNotFoundError as exc:
        raise CredentialError(f"getting credentials: exec: executable {plugin.command} not found") from exc
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise CredentialError(f"getting credentials: exec: {plugin.command}: {exc}") from exc
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        text = f"exec: executable {plugin.command} failed with exit code {done.returncode}"
        raise CredentialError(f"getting credentials: {text}{f': {said}' if said else ''}")
    return _read(done.stdout, plugin)


def _read(text: bytes, plugin: ExecPlugin) -> _Given:
    try:
        credential = msgspec.json.decode(text, type=_ExecCredential)
    except msgspec.MsgspecError as exc:
        raise CredentialError(f"getting credentials: decoding stdout: {exc}") from exc
    status = credential.status
    if credential.kind != "ExecCredential" or credential.api_version != plugin.api_version:
        told = f"exec plugin is configured to use API version {plugin.api_version}"
        raise CredentialError(f"{told}, plugin returned version {credential.api_version}")
    if status is None or not (status.token or status.client_certificate_data):
        raise CredentialError("exec plugin didn't return a token or cert/key pair")
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise CredentialError("exec plugin returned only one of certificate and key, not both")
    expires_s = None
    if status.expiration_timestamp:
        try:
            expires_s = parse(status.expiration_timestamp) / SECOND_US
        except TimeError as exc:
            raise CredentialError(f"exec plugin: expirationTimestamp: {exc}") from exc
    return _Given(status.token, status.client_certificate_data.encode(), status.client_key_data.encode(), expires_s)


def load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Load a certificate chain that is not in a file. Raises CredentialError."""
    # OpenSSL reads files only; nobody else can read this one, and it is gone at once
    with tempfile.NamedTemporaryFile("wb") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        try:
            context.load_cert_chain(file.name, password="")
        except (ssl.SSLError, ValueError) as exc:
            raise CredentialError(f"tls: failed to find a usable certificate and key: {exc}") from exc
