"""
The kubeconfig of an audit webhook: what it says, what kube-apiserver would make of it, and the same in one file.

`read` understands it, `problems` says what is wrong with it for an API server that runs on the host's network,
`flatten` puts certificates, keys and tokens of other files into it, so that one mount is enough.
"""

import base64
import binascii
import ipaddress
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kubewitness.apiserver import yamltext
from kubewitness.apiserver.yamltext import Data, Document, EditError, Path

ReadFile = Callable[[str], bytes | None]
_EMBEDDED = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
    "tokenFile": "token",
}
_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with it: a code of the findings, the line, what, and what to write."""

    code: str
    line: int
    message: str
    help: str


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """Which server is reached and how. Paths are where the parts stand in the document."""

    document: Document
    server: str
    cluster: Path
    user: Path | None


def read(data: bytes) -> Kubeconfig:
    """Read a kubeconfig and follow its current context. Raises EditError."""
    document = yamltext.read(data)
    if document.root.id != "mapping":
        raise EditError("a kubeconfig is an object")
    current = document.text_at(("current-context",))
    if not current:
        raise EditError("there is no current-context: kube-apiserver finds no cluster in this")
    context = _named(document, "contexts", current, ("current-context",))
    name = document.text_at((*context, "context", "cluster"))
    if not name:
        raise EditError(f"context {current} names no cluster", document.line(context))
    cluster = (*_named(document, "clusters", name, (*context, "context", "cluster")), "cluster")
    server = document.text_at((*cluster, "server"))
    if not server:
        raise EditError(f"cluster {name} has no server", document.line(cluster))
    user_name = document.text_at((*context, "context", "user"))
    user = (*_named(document, "users", user_name, (*context, "context", "user")), "user") if user_name else None
    return Kubeconfig(document, server, cluster, user)


def _named(document: Document, kind: str, name: str, asked: Path) -> Path:
    items = document.data((kind,))
    for index, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict) and item.get("name") == name:
            return (kind, index)
    raise EditError(f"there is no {name} among the {kind}", document.line(asked))


def problems(config: Kubeconfig, read_file: ReadFile, now: datetime, *, uses_cluster_dns: bool) -> Iterator[Problem]:
    """Say what is wrong, or will be.

    `read_file` gives files by the server's own paths, and raises PermissionError for what we may not look at.
    """
    yield from _address(config, uses_cluster_dns=uses_cluster_dns)
    yield from _authority(config, read_file, now)
    yield from _credentials(config, read_file)
    yield from _client(config, read_file, now)


def _address(config: Kubeconfig, *, uses_cluster_dns: bool) -> Iterator[Problem]:
    line = config.document.line((*config.cluster, "server"))
    try:
        url = urllib.parse.urlsplit(config.server)
        host, _ = url.hostname or "", url.port
    except ValueError:
        yield Problem("KW614", line, f"{config.server} is no URL", "server: https://192.0.2.20:9443/audit")
        return
    if url.scheme not in ("http", "https") or not host:
        yield Problem("KW614", line, f"{config.server} is no URL of a server", "server: https://192.0.2.20:9443/audit")
        return
    if url.query:
        without = config.server.partition("?")[0]
        message = f"the query string ?{url.query} is dropped: kube-apiserver sends ?timeout=30s alone"
        yield Problem("KW631", line, message, f"server: {without}   # put what it said into the path")
    if url.scheme == "http":
        message = "events go over the network readable and changeable by anyone on the way"
        yield Problem("KW652", line, message, f"server: https{config.server[4:]}")
    is_local = host.endswith((".svc", ".cluster.local")) or ("." not in host and not _is_address(host))
    if is_local and host != "localhost" and not uses_cluster_dns:
        yield Problem(
            "KW630",
            line,
            f"{host} is a name of the cluster's DNS, which a server on the host's network does not ask",
            "server: https://CLUSTER-IP-OF-THE-SERVICE:PORT/   # or a NodePort, or a name of the host's DNS",
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _authority(config: Kubeconfig, read_file: ReadFile, now: datetime) -> Iterator[Problem]:
    document, cluster = config.document, config.cluster
    if not config.server.startswith("https"):
        return
    skip = (document.text_at((*cluster, "insecure-skip-tls-verify")) or "").lower() == "true"
    path, data = (*cluster, "certificate-authority"), (*cluster, "certificate-authority-data")
    if skip:
        line = document.line((*cluster, "insecure-skip-tls-verify"))
        message = "whoever stands in between can answer for the receiver, and events are gone"
        yield Problem("KW653", line, message, "certificate-authority: /etc/kubernetes/pki/audit-ca.crt")
        return
    embedded, named = document.text_at(data), document.text_at(path)
    if embedded is not None:
        line = document.line(data)
        pem = _decoded(embedded)
    elif named is not None:
        line = document.line(path)
        try:
            found = read_file(named)
        except PermissionError:
            return
        if found is None:
            message = (
                f"unable to read certificate-authority {named} for {document.text_at((*cluster[:-1], 'name'))}:"
                " the server does not start"
            )
            yield Problem("KW615", line, message, "put the file there and mount it, or use certificate-authority-data")
            return
        pem = found
    else:
        line = document.line(cluster)
        message = "no certificate authority is named: only one that the image knows will be trusted"
        yield Problem("KW632", line, message, "certificate-authority: /etc/kubernetes/pki/audit-ca.crt")
        return
    yield from _certificate(pem, line, now)


def _certificate(pem: bytes, line: int, now: datetime) -> Iterator[Problem]:
    """Look at certificates of an authority: one of a bundle that is good is enough."""
    ends = _ends(pem)
    if not ends:
        yield Problem("KW616", line, "this holds no certificate in PEM form", "-----BEGIN CERTIFICATE-----")
        return
    latest = max(ends)
    if latest < now:
        message = f"the certificate authority expired on {latest:%Y-%m-%d}: no receiver is trusted"
        yield Problem("KW633", line, message, "put the new one beside the old one, then restart the server")
    elif latest - now < _SOON:
        message = f"the certificate authority expires on {latest:%Y-%m-%d}"
        yield Problem("KW654", line, message, "put the new one beside the old one in good time")


def _ends(pem: bytes) -> list[datetime]:
    """Give when each certificate ends; empty when there is none that can be read."""
    from cryptography import x509

    try:
        return [certificate.not_valid_after_utc for certificate in x509.load_pem_x509_certificates(pem)]
    except ValueError:
        return []


def _client(config: Kubeconfig, read_file: ReadFile, now: datetime) -> Iterator[Problem]:
    """Look when the certificate ends that the server shows."""
    document, user = config.document, config.user
    if user is None:
        return
    pem, at = _decoded(document.text_at((*user, "client-certificate-data"))), (*user, "client-certificate-data")
    named = document.text_at((*user, "client-certificate"))
    if not pem and named is not None:
        at = (*user, "client-certificate")
        try:
            pem = read_file(named) or b""
        except PermissionError:
            return
    ends = _ends(pem) if pem else []
    if ends and ends[0] < now:
        message = f"the client certificate expired on {ends[0]:%Y-%m-%d}: the receiver refuses every batch"
        yield Problem("KW642", document.line(at), message, "make a new one (kubewitness init-server DIR --renew)")
    elif ends and ends[0] - now < _SOON:
        message = f"the client certificate expires on {ends[0]:%Y-%m-%d}"
        yield Problem("KW667", document.line(at), message, "make a new one (kubewitness init-server DIR --renew)")


def _decoded(text: str | None) -> bytes:
    try:
        return base64.b64decode(text or "", validate=False)
    except (binascii.Error, ValueError):
        return b""


def _credentials(config: Kubeconfig, read_file: ReadFile) -> Iterator[Problem]:
    document = config.document
    names = ("client-certificate", "client-certificate-data", "token", "tokenFile", "username", "exec", "auth-provider")
    user = config.user
    if user is None or not any(document.node((*user, name)) for name in names):
        line = document.line(user or config.cluster)
        message = "no credentials: the receiver cannot know that it is this API server that speaks"
        yield Problem(
            "KW655", line, message, "users: [{name: audit, user: {client-certificate: ..., client-key: ...}}]"
        )
        return
    for name in ("client-certificate", "client-key", "tokenFile"):
        path = document.text_at((*user, name))
        if path is not None and _is_missing(path, read_file):
            message = f"unable to read {name} {path}: the server does not start"
            yield Problem("KW615", document.line((*user, name)), message, "put the file there and mount it")


def _is_missing(path: str, read_file: ReadFile) -> bool:
    try:
        return read_file(path) is None
    except PermissionError:
        return False


def flatten(data: bytes, read_file: ReadFile) -> bytes:
    """Put what other files hold into the kubeconfig itself. Raises EditError when one is missing."""
    config = read(data)
    document = config.document
    for place in (config.cluster, config.user):
        if place is None:
            continue
        for name, inside in _EMBEDDED.items():
            path = document.text_at((*place, name))
            if path is None:
                continue
            found = read_file(path)
            if found is None:
                raise EditError(f"{name}: {path} cannot be read", document.line((*place, name)))
            value = found.decode("utf-8", "replace").strip() if inside == "token" else base64.b64encode(found).decode()
            members = document.data(place)
            rest: dict[str, Data] = (
                {}
                if not isinstance(members, dict)
                else {key: one for key, one in members.items() if key not in (name, inside)}
            )
            document = _with(document, place, {**rest, inside: value})
    return document.text.encode()


def _with(document: Document, place: Path, members: dict[str, Data]) -> Document:
    """Give the whole kubeconfig anew with these members at a place: it is a new file, nobody's comments are lost."""
    data = document.data()
    at: Any = data
    for step in place[:-1]:
        at = at[step]
    at[str(place[-1])] = members
    return yamltext.read(yamltext.dump(data))
