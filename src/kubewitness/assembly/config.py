"""
The configuration of a server: `kubewitness.yaml`, read into values, or refused with the place of each mistake.

docs/reference/config.md explains every field; a test compares it with what is read here.
Paths are relative to the directory of the file.
"""

import dataclasses
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubewitness.assembly.yamlnodes import ConfigError, Reader
from kubewitness.keep.receiver.clients import TOKEN_HASH_BYTES, CertificateRule, Clients, ClusterClients
from kubewitness.keep.receiver.limits import Limits
from kubewitness.keep.receiver.server import Admission, tls_context
from kubewitness.keep.store.layout import OWN_PREFIX, default_keys
from kubewitness.keep.store.sinks import is_syslog_address

OPERATE = ("127.0.0.1", 9440)
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of certificates."""

    certificate: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """Who may bring the Events of a cluster."""

    name: str
    certificates: Sequence[CertificateRule] = ()
    tokens: Path | None = None
    logs: Sequence[Path] = ()
    """Log files that are read beside what is posted."""


@dataclass(frozen=True, slots=True)
class Config:
    """All that a server is told."""

    data: Path
    keys: Path
    events: Sequence[tuple[str, int]]
    tls: Tls
    clusters: Sequence[ClusterConfig]
    operate: tuple[str, int] | None = OPERATE
    tiles: tuple[str, int] | None = None
    limits: Limits = field(default_factory=Limits)
    seal_seconds: float = 1.0
    is_indexed: bool = True
    grace_seconds: float = 20.0
    checkpoints: Sequence[Mapping[str, str]] = ()
    file: Path | None = None

    @property
    def files(self) -> list[Path]:
        """The files whose change is a change of who may come in."""
        tokens = [cluster.tokens for cluster in self.clusters if cluster.tokens is not None]
        ca = [self.tls.client_ca] if self.tls.client_ca is not None else []
        return [self.tls.certificate, self.tls.key, *ca, *tokens]


def read_config(path: Path) -> Config:
    """Read a configuration. Raises ConfigError."""
    try:
        text = path.read_text("utf-8")
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 at byte {exc.start}") from exc
    return parse_config(path, text)


def parse_config(path: Path, text: str) -> Config:
    """Read the text of a configuration. Raises ConfigError."""
    top = Reader.of(str(path), text).fields("data", "keys", "listen", "tls", "clusters", "limits", "seal", "grace")
    base = path.parent
    data = base / top["data"].text()
    keys = base / top["keys"].text() if top["keys"].is_given else default_keys(data)
    for name, place in (("data", data), ("keys", keys)):
        if place.exists() and not place.is_dir():
            top[name].fail(f"{place} is not a directory")
    if data.resolve() in (keys.resolve(), *keys.resolve().parents):
        top["keys"].fail("keys must not lie in the data directory: whoever copies one would have both")
    listen = top["listen"].fields("events", "operate", "tiles")
    events = [one.address() for one in listen["events"].items()]
    if not events:
        listen["events"].fail("it is needed: where kube-apiserver posts to, such as :9443")
    seal = top["seal"].fields("every", "index", "checkpoints")
    config = Config(
        data=data,
        keys=keys,
        events=events,
        tls=_tls(base, top["tls"]),
        clusters=_clusters(base, top["clusters"]),
        operate=_address_or_off(listen["operate"], OPERATE),
        tiles=_address_or_off(listen["tiles"], None),
        limits=_limits(top["limits"]),
        seal_seconds=seal["every"].seconds(1.0),
        is_indexed=seal["index"].flag(default=True),
        grace_seconds=top["grace"].seconds(20.0),
        checkpoints=[_checkpoint(base, one) for one in seal["checkpoints"].items()],
        file=path,
    )
    if config.tls.client_ca is None and any(cluster.certificates for cluster in config.clusters):
        top["tls"].fail("clientCA is needed where clusters are known by certificates")
    return config


def _address_or_off(place: Reader, default: tuple[str, int] | None) -> tuple[str, int] | None:
    if not place.is_given:
        return default
    return None if place.text() == "off" else place.address()


def _tls(base: Path, place: Reader) -> Tls:
    fields = place.fields("certificate", "key", "clientCA")
    client_ca = base / fields["clientCA"].text() if fields["clientCA"].is_given else None
    return Tls(base / fields["certificate"].text(), base / fields["key"].text(), client_ca)


def _clusters(base: Path, place: Reader) -> list[ClusterConfig]:
    out: list[ClusterConfig] = []
    for one in place.items():
        fields = one.fields("name", "certificates", "tokens", "logs")
        name = fields["name"].text()
        if name.startswith(OWN_PREFIX):
            fields["name"].fail(f"names that begin with {OWN_PREFIX} are kept for logs of the server's own")
        if any(name == other.name for other in out):
            fields["name"].fail(f"there is a cluster {name} already")
        tokens = base / fields["tokens"].text() if fields["tokens"].is_given else None
        rules = [_rule(rule) for rule in fields["certificates"].items()]
        logs = [base / log.text() for log in fields["logs"].items()]
        if not rules and tokens is None and not logs:
            one.fail(f"nobody can bring the Events of {name}: give certificates, tokens or logs")
        out.append(ClusterConfig(name, rules, tokens, logs))
    if not out:
        place.fail("at least one cluster is needed, with name and certificates")
    return out


def _rule(place: Reader) -> CertificateRule:
    fields = place.fields("commonName", "dnsName", "uri", "fingerprint")
    fingerprint = fields["fingerprint"].text("").removeprefix("sha256:").replace(":", "").lower()
    if fingerprint and not _HEX.fullmatch(fingerprint):
        fields["fingerprint"].fail("SHA-256 of the certificate is wanted: 64 hexadecimal digits")
    rule = CertificateRule(
        fields["commonName"].text(""), fields["dnsName"].text(""), fields["uri"].text(""), fingerprint
    )
    if rule == CertificateRule():
        place.fail("one of commonName, dnsName, uri, fingerprint is needed")
    return rule


def _limits(place: Reader) -> Limits:
    names = {camel(one.name): one for one in dataclasses.fields(Limits)}
    fields = place.fields(*names)
    values: dict[str, float | int] = {}
    for name, one in names.items():
        default = getattr(Limits(), one.name)
        if one.name.endswith("_seconds"):
            value: float | int = fields[name].seconds(float(default))
            values[one.name] = int(value) if isinstance(default, int) else value
        else:
            values[one.name] = fields[name].size(default)
        if fields[name].is_given and values[one.name] <= 0:
            fields[name].fail("it must be more than 0")
    limits = dataclasses.replace(Limits(), **values)  # type: ignore[arg-type]
    if limits.waiting_bytes < limits.body_bytes:
        fields["waitingBytes"].fail(f"it must hold one body at least, {limits.body_bytes} bytes")
    return limits


def _checkpoint(base: Path, place: Reader) -> dict[str, str]:
    """Read where heads go: one of these, a path by the folder of the configuration. Raises ConfigError."""
    fields = place.fields("file", "git", "syslog", "stdout")
    given = {name: field for name, field in fields.items() if field.is_given}
    if len(given) != 1:
        place.fail("one of file, git, syslog, stdout is wanted in each item of the list")
    [(name, field)] = given.items()
    text = field.text()
    if name in ("file", "git"):
        path = base / text
        if not path.is_dir():
            field.fail(f"{path} is not a directory that is there")
        return {name: str(path)}
    if name == "syslog" and not is_syslog_address(text):
        field.fail(f"{text!r} is not udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH")
    if name == "stdout" and not field.flag(default=False):
        return {}
    return {name: text}


def camel(name: str) -> str:
    """Write a name of ours as Kubernetes writes fields."""
    head, *rest = name.removesuffix("_seconds").split("_")
    return head + "".join(word.capitalize() for word in rest)


def admission(config: Config) -> Admission:
    """Read certificates and tokens. Raises ConfigError, which names the file that is wrong and never its content."""
    clusters: dict[str, ClusterClients] = {}
    for cluster in config.clusters:
        tokens = _tokens(cluster.tokens) if cluster.tokens is not None else []
        clusters[cluster.name] = ClusterClients(cluster.certificates, tokens)
    clients = Clients(clusters)
    tls = config.tls
    for path in (tls.certificate, tls.key, *([tls.client_ca] if tls.client_ca else [])):
        _check_readable(path)
    try:
        context = tls_context(
            str(tls.certificate),
            str(tls.key),
            str(tls.client_ca) if tls.client_ca else None,
            is_certificate_needed=not clients.has_tokens,
        )
    except ssl.SSLError as exc:
        names = ", ".join(str(path) for path in (tls.certificate, tls.key, tls.client_ca) if path)
        raise ConfigError(f"{names}: they cannot be used together: {exc.reason or exc}") from exc
    except OSError as exc:
        raise ConfigError(f"{exc.filename or tls.certificate}: {exc.strerror or exc}") from exc
    return Admission(context, clients)


def _check_readable(path: Path) -> None:
    try:
        is_pem = b"-----BEGIN " in path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    if not is_pem:
        raise ConfigError(f"{path}: not PEM: no line in it begins a certificate or key")


def _tokens(path: Path) -> list[bytes]:
    """Read SHA-256 of tokens, a line each in hexadecimal. Raises ConfigError."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    out = []
    for number, line in enumerate(lines, 1):
        text = line.strip().removeprefix("sha256:")
        if not text or text.startswith("#"):
            continue
        if not _HEX.fullmatch(text):
            raise ConfigError(
                f"{path}:{number}: not SHA-256 of a token in hexadecimal; make it with "
                "`printf %s TOKEN | sha256sum`: the token itself must not stand here"
            )
        out.append(bytes.fromhex(text))
    if not out or any(len(one) != TOKEN_HASH_BYTES for one in out):
        raise ConfigError(f"{path}: it has no token")
    return out
