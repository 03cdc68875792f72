"""`kubewitness init-server DIR`: what a server and kube-apiserver need to talk to each other, and what to do next."""

import argparse
import sys
from pathlib import Path

from kubewitness.cli.errors import ExitCode, UserError

HELP = """Make configuration, certificates and the kubeconfig for kube-apiserver; say what to do next.

  kubewitness init-server /etc/kubewitness --cluster production --address 10.0.0.5
  kubewitness init-server /etc/kubewitness --renew       new certificates, same authority

What is there is never overwritten, but for certificates with --renew. Run it again to add a --cluster."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the place, the clusters and the names of the server."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="where to write; made if it is not there")
    parser.add_argument(
        "--cluster", metavar="NAME", action="append", help="a cluster whose Events will come (default: main)"
    )
    parser.add_argument(
        "--address",
        metavar="HOST",
        action="append",
        help="name or IP address under which kube-apiserver reaches the server; the first goes into its kubeconfig "
        "(default: 127.0.0.1)",
    )
    parser.add_argument("--port", type=int, default=9443, help="where it listens (default: %(default)s)")
    parser.add_argument("--data", metavar="PATH", default="data", help="data directory (default: DIR/data)")
    parser.add_argument("--renew", action="store_true", help="replace server and client certificates and their keys")


def run(args: argparse.Namespace) -> int:
    """Write the files, print what was done and what comes next."""
    from kubewitness.assembly.initserver import init_server

    place: Path = args.directory
    clusters = args.cluster or _known_clusters(place) or ["main"]
    for cluster in clusters:
        if cluster.startswith("_") or not cluster.isprintable() or not cluster or len(cluster) > 200:
            raise UserError(f"{cluster!r} cannot be the name of a cluster: printable, and not beginning with _")
    if not 0 < args.port < 65536:
        raise UserError(f"{args.port} is not a port")
    addresses = args.address or ["127.0.0.1"]
    try:
        made = init_server(place, clusters, addresses, data=args.data, port=args.port, renew=args.renew)
    except ValueError as exc:
        raise UserError(str(exc)) from exc
    except OSError as exc:
        raise UserError(f"{exc.filename or place}: {exc.strerror}", ExitCode.RUNTIME) from exc
    out = sys.stdout
    for name in made.written:
        out.write(f"wrote  {place / name}\n")
    for name in made.kept:
        out.write(f"kept   {place / name}\n")
    missing = _not_in_config(place, clusters)
    if missing:
        out.write(f"\nAdd to {place / 'kubewitness.yaml'}, under clusters:\n")
        out.writelines(missing)
    out.write(_next_steps(place, clusters, addresses[0], place / args.data, is_renewal=args.renew))
    return ExitCode.OK


def _known_clusters(place: Path) -> list[str]:
    """Give the clusters of a configuration that is there already."""
    from kubewitness.assembly.config import read_config
    from kubewitness.assembly.yamlnodes import ConfigError

    path = place / "kubewitness.yaml"
    if not path.exists():
        return []
    try:
        return [cluster.name for cluster in read_config(path).clusters]
    except ConfigError as exc:
        raise UserError(str(exc)) from exc


def _not_in_config(place: Path, clusters: list[str]) -> list[str]:
    from kubewitness.assembly.initserver import client_name

    known = set(_known_clusters(place))
    return [
        f"- name: {cluster}\n  certificates:\n  - commonName: {client_name(cluster)}\n"
        for cluster in clusters
        if cluster not in known
    ]


def _next_steps(place: Path, clusters: list[str], address: str, data: Path, *, is_renewal: bool) -> str:
    from kubewitness.assembly.initserver import file_name

    if is_renewal:
        return """
The server takes its new certificate by itself, or on SIGHUP.
kube-apiserver reads its kubeconfig only when it starts: put the new one on each
control plane node and restart kube-apiserver, one node after the other.
The old client certificates stay good until they end.
"""
    names = ", ".join(f"apiserver-{file_name(cluster)}.kubeconfig" for cluster in clusters)
    here = ""
    if address in ("127.0.0.1", "::1", "localhost"):
        here = "   (It names 127.0.0.1: right only where both share a host; see --address.)\n"
    return f"""
Next:
1. Start the server, before kube-apiserver needs it:
     kubewitness serve --config {place / "kubewitness.yaml"}
   As a service: make a user kubewitness, give it {place} and the
   data directory, put kubewitness.service into /etc/systemd/system, and
     systemctl enable --now kubewitness
2. On each control plane node, put {names}
   where kube-apiserver can read it (mode 0600: it holds a key), mount it into
   the static pod, and add the flags
     --audit-policy-file=/etc/kubernetes/audit/policy.yaml
     --audit-webhook-config-file=/etc/kubernetes/audit/webhook.kubeconfig
     --audit-webhook-initial-backoff=30s
{here}3. Look whether Events come:
     curl -s http://127.0.0.1:9440/metrics | grep events_stored
4. Give {data}.keys/*.vkey to whoever will verify.
   Move ca.key to a safe place; only this command needs it.
5. Certificates end after 397 days: run this again with --renew before.

Traps:
- kube-apiserver runs with host networking and the host's DNS: the name of a
  Service (*.svc) does not resolve there. Use an IP address, or a name in
  /etc/hosts; the server's certificate must have it.
- Do not run the only server inside the cluster that it watches: at bootstrap it
  is not there yet, and what happens before it starts is lost after the retries.
- --audit-webhook-initial-backoff: a batch is tried 5 times, then lost. With the
  default of 10s an outage of some 80 s is survived, with 30s some 4 minutes,
  with 5s only 40 s. For longer ones keep --audit-log-path as well, and bring
  the file in afterwards with `kubewitness import`.
- Leave --audit-webhook-mode at batch. blocking makes every request wait for the
  server, and still loses Events when it is away; blocking-strict can stop the
  cluster.
- Leave --audit-webhook-truncate-enabled off: bodies up to 64 MiB are taken.
"""
