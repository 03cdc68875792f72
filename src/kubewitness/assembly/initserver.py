"""
Write what a new server needs: certificates, configuration, the kubeconfig for kube-apiserver, a unit for systemd.

What is there stays as it is, above all keys; only `renew` replaces server and client certificates, signed by the same
authority, so that either side may be exchanged first.
"""

import base64
import datetime as dt
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubewitness.assembly.certificates import Pair, common_name, make_ca, make_client, make_server, names_of
from kubewitness.assembly.files import write_new, write_over

PORT = 9443
CA, CA_KEY = "ca.crt", "ca.key"
SERVER, SERVER_KEY = "server.crt", "server.key"
CONFIG = "kubewitness.yaml"
UNIT = "kubewitness.service"
_SECRET, _OPEN = 0o600, 0o644


@dataclass(slots=True)
class Made:
    """What was written, and what was there already."""

    written: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def note(self, name: str, *, is_new: bool) -> None:
        """Note a file."""
        (self.written if is_new else self.kept).append(name)


def init_server(
    place: Path,
    clusters: Sequence[str],
    names: Sequence[str],
    *,
    data: str = "data",
    port: int = PORT,
    renew: bool = False,
    now: dt.datetime | None = None,
) -> Made:
    """Make or complete the directory of a server. Raises OSError, ValueError for files there that cannot be used."""
    now = now or dt.datetime.now(dt.UTC)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Made()
    ca = _authority(place, now, made)
    if renew and (place / SERVER).exists():
        names = names_of((place / SERVER).read_bytes()) or names
    _pair(place, SERVER, SERVER_KEY, lambda: make_server(ca, names, now), made, renew=renew)
    for cluster in clusters:
        _client(place, cluster, ca, _url(names[0], port), now, made, renew=renew)
    config = server_config(clusters, data, port).encode()
    made.note(CONFIG, is_new=write_new(place / CONFIG, config, _OPEN))
    unit = systemd_unit(place.absolute() / CONFIG, (place / data).absolute()).encode()
    made.note(UNIT, is_new=write_new(place / UNIT, unit, _OPEN))
    return made


def client_name(cluster: str) -> str:
    """Give the common name of the certificate with which a cluster's kube-apiserver comes."""
    return f"kube-apiserver:{cluster}"[:64]


def file_name(cluster: str) -> str:
    """Give what of a cluster's name may stand in the name of a file."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in cluster).strip(".") or "cluster"


def _client(place: Path, cluster: str, ca: Pair, url: str, now: dt.datetime, made: Made, *, renew: bool) -> None:
    stem = f"apiserver-{file_name(cluster)}"
    certificate, key, kubeconfig = f"{stem}.crt", f"{stem}.key", f"{stem}.kubeconfig"
    name = client_name(cluster)
    if (place / certificate).exists() and common_name((place / certificate).read_bytes()) != name:
        raise ValueError(f"{place / certificate} is of another cluster than {cluster}; choose a name less like it")
    _pair(place, certificate, key, lambda: make_client(ca, name, now), made, renew=renew)
    is_new = renew or not (place / kubeconfig).exists()
    if is_new:
        client = Pair((place / certificate).read_bytes(), (place / key).read_bytes())
        write_over(place / kubeconfig, webhook_kubeconfig(url, ca.certificate, client), _SECRET)
    made.note(kubeconfig, is_new=is_new)


def _authority(place: Path, now: dt.datetime, made: Made) -> Pair:
    if not (place / CA).exists() and not (place / CA_KEY).exists():
        ca = make_ca("kubewitness certificate authority", now)
        write_new(place / CA_KEY, ca.key, _SECRET)
        write_new(place / CA, ca.certificate, _OPEN)
        made.note(CA, is_new=True)
        made.note(CA_KEY, is_new=True)
        return ca
    for name in (CA, CA_KEY):
        if not (place / name).exists():
            raise ValueError(f"{place / name} is missing; put it back, or remove the other one to begin anew")
        made.note(name, is_new=False)
    return Pair((place / CA).read_bytes(), (place / CA_KEY).read_bytes())


def _pair(place: Path, certificate: str, key: str, make: Callable[[], Pair], made: Made, *, renew: bool) -> None:
    is_there = (place / certificate).exists() and (place / key).exists()
    if is_there and not renew:
        made.note(certificate, is_new=False)
        made.note(key, is_new=False)
        return
    if not is_there and ((place / certificate).exists() or (place / key).exists()):
        raise ValueError(f"of {certificate} and {key} only one is there; put the other back, or remove this one")
    pair = make()
    write_over(place / key, pair.key, _SECRET)
    write_over(place / certificate, pair.certificate, _OPEN)
    made.note(certificate, is_new=True)
    made.note(key, is_new=True)


def _url(name: str, port: int) -> str:
    try:
        host = f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    except ValueError:
        host = name
    return f"https://{host}:{port}/"


def webhook_kubeconfig(url: str, ca: bytes, client: Pair) -> bytes:
    """Write the file for kube-apiserver's --audit-webhook-config-file."""

    def inline(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return f"""\
# For kube-apiserver: --audit-webhook-config-file=<this file>
# It holds a private key. kube-apiserver reads it once, when it starts.
apiVersion: v1
kind: Config
clusters:
- name: kubewitness
  cluster:
    server: {url}
    certificate-authority-data: {inline(ca)}
users:
- name: kube-apiserver
  user:
    client-certificate-data: {inline(client.certificate)}
    client-key-data: {inline(client.key)}
contexts:
- name: default
  context:
    cluster: kubewitness
    user: kube-apiserver
current-context: default
""".encode()


def server_config(clusters: Sequence[str], data: str, port: int) -> str:
    """Write kubewitness.yaml."""
    lines = [
        "# kubewitness.yaml: what `kubewitness serve --config` reads. Every field: docs/reference/config.md",
        "# Paths are relative to this file.",
        f"data: {_quoted(data)}",
        f"keys: {_quoted(data + '.keys')}  # never in the data directory; back them up apart from it",
        "listen:",
        f'  events: ":{port}"            # where kube-apiserver posts to',
        '  operate: "127.0.0.1:9440"   # /livez /readyz /metrics, without TLS',
        '  tiles: "127.0.0.1:9441"     # heads and tiles for whoever verifies; they tell nothing of Events',
        "tls:",
        f"  certificate: {SERVER}",
        f"  key: {SERVER_KEY}",
        f"  clientCA: {CA}",
        "clusters:",
    ]
    for cluster in clusters:
        lines += [
            f"- name: {_quoted(cluster)}",
            "  certificates:",
            f"  - commonName: {_quoted(client_name(cluster))}",
        ]
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    return text if text.replace("-", "").replace(".", "").isalnum() and not text[0].isdigit() else _double(text)


def _double(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def systemd_unit(config: Path, data: Path, program: str = "/usr/local/bin/kubewitness") -> str:
    """Write a unit that lets the server do what it must and nothing else."""
    return f"""\
[Unit]
Description=kubewitness: receives and keeps the Kubernetes audit log
Documentation=https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/
After=network-online.target local-fs.target
Wants=network-online.target
Before=kubelet.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} serve --config {config}
ExecReload=/bin/kill -HUP $MAINPID
User=kubewitness
Group=kubewitness
Restart=always
RestartSec=2
TimeoutStopSec=180
LimitNOFILE=8192
LimitCORE=0
UMask=0077
OOMScoreAdjust=-500
MemoryMax=1G

ReadWritePaths={data} {data}.keys
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectProc=invisible
ProcSubset=pid
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
