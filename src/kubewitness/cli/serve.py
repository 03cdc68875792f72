"""`kubewitness serve`: receive audit events from kube-apiserver's webhook, keep them, seal them."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kubewitness.cli.errors import ExitCode, UserError

if TYPE_CHECKING:
    from kubewitness.assembly.config import Config

HELP = """Receive audit events from kube-apiserver, acknowledge what lasts, seal it, serve heads and metrics.

  kubewitness serve --config /etc/kubewitness/kubewitness.yaml
  kubewitness serve --data ./data                        to try it out: loopback, certificates made
  kubewitness serve --config FILE --check                only say whether FILE is right
  kubewitness serve --config FILE --print-systemd-unit

SIGHUP reads certificates, client CA and tokens again; SIGTERM finishes what was begun. Its own log is JSON, a line
each, on standard error. `init-server` writes a configuration; docs/reference/config.md explains it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the configuration, or the data directory of a trial."""
    parser.add_argument("--config", metavar="FILE", type=Path, help="kubewitness.yaml")
    parser.add_argument("--data", metavar="DIR", type=Path, help="without --config: keep everything under DIR")
    parser.add_argument(
        "--listen", metavar="ADDRESS", default="127.0.0.1:9443", help="with --data: where to listen (%(default)s)"
    )
    parser.add_argument("--check", action="store_true", help="read the configuration and all it names, then stop")
    parser.add_argument("--print-systemd-unit", action="store_true", help="print a hardened unit for --config")
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="how grave a line of its own log must be (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    from kubewitness.assembly.yamlnodes import ConfigError

    if (args.config is None) == (args.data is None):
        raise UserError(
            "give --config FILE, or --data DIR to try it out\n"
            "  help: `kubewitness init-server DIR` writes a configuration with certificates"
        )
    try:
        if args.print_systemd_unit:
            return _print_unit(args)
        config = _config(args)
        if args.check:
            return _check(config)
        if args.data is not None:
            _explain_trial(args.data)
        return _serve(config, args.log_level)
    except ConfigError as exc:
        raise UserError(str(exc)) from exc


def _config(args: argparse.Namespace) -> "Config":
    from kubewitness.assembly.config import read_config
    from kubewitness.assembly.trial import trial_config
    from kubewitness.assembly.yamlnodes import parse_address

    if args.config is not None:
        return read_config(args.config)
    address = parse_address(args.listen)
    if address is None:
        raise UserError(f"--listen: {args.listen!r} is not an address such as 127.0.0.1:9443")
    return trial_config(args.data, address)


def _print_unit(args: argparse.Namespace) -> int:
    import shutil

    from kubewitness.assembly.config import read_config
    from kubewitness.assembly.initserver import systemd_unit

    if args.config is None:
        raise UserError("--print-systemd-unit needs --config FILE")
    config = read_config(args.config)
    program = shutil.which("kubewitness") or "/usr/local/bin/kubewitness"
    sys.stdout.write(systemd_unit(args.config.absolute(), config.data.absolute(), program))
    return ExitCode.OK


def _check(config: "Config") -> int:
    from kubewitness.assembly.config import admission

    admission(config)
    names = ", ".join(cluster.name for cluster in config.clusters)
    sys.stdout.write(f"{config.file}: good; clusters: {names}; data: {config.data}\n")
    return ExitCode.OK


def _explain_trial(data: Path) -> None:
    """Say, for a person, where things are; the log says where it listens."""
    made = f"{data}.server"
    sys.stdout.write(
        f"certificates, and the kubeconfig for kube-apiserver: {made}/\n"
        f"ask:     kubewitness search --data {data}\n"
        f"verify:  kubewitness verify --data {data}\n"
        "Ctrl-C ends it well. The lines below are its own log.\n"
    )
    sys.stdout.flush()


def _serve(config: "Config", level: str) -> int:
    from kubewitness.assembly.jsonlog import JsonLog
    from kubewitness.assembly.run import run_service
    from kubewitness.keep.store.errors import StoreError

    try:
        return run_service(config, JsonLog(level=level))
    except StoreError as exc:
        raise UserError(str(exc), ExitCode.RUNTIME) from exc
    except OSError as exc:
        raise UserError(f"{exc.filename or config.data}: {exc.strerror or exc}", ExitCode.RUNTIME) from exc
