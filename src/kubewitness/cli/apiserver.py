"""The command `apiserver`: its sub-commands and which module runs each."""

import argparse

from kubewitness.cli import apiserver_canary, apiserver_check, apiserver_enable, apiserver_watch

HELP = """Turn auditing on at a kube-apiserver, and see that it is set up right and stays so.

  kubewitness apiserver enable --distro kubeadm --dry-run
  kubewitness apiserver check /etc/kubernetes/manifests/kube-apiserver.yaml
  kubewitness apiserver canary --log /var/log/kubernetes/audit/audit.log
  kubewitness apiserver watch /etc/kubernetes/manifests/kube-apiserver.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands; each sets `run`."""
    subparsers = parser.add_subparsers(title="commands", dest="subcommand", metavar="COMMAND", required=True)
    apiserver_enable.add_subcommand(subparsers)
    apiserver_check.add_subcommand(subparsers)
    apiserver_canary.add_subcommand(subparsers)
    apiserver_watch.add_subcommand(subparsers)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was chosen."""
    return int(args.run(args))
