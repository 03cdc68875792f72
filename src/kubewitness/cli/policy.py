"""The command `policy`: its sub-commands and which module runs each."""

import argparse

from kubewitness.cli import (
    policy_check,
    policy_coverage,
    policy_diff,
    policy_eval,
    policy_explain,
    policy_init,
    policy_prove,
    policy_simulate,
    policy_suggest,
    policy_test,
)

HELP = """Check, explain, simulate, compare, prove and test audit policies, with kube-apiserver's own answers and words.

  kubewitness policy check --fix audit-policy.yaml
  kubewitness policy explain audit-policy.yaml --user alice --kubectl 'exec -n prod -it web -- sh'
  kubewitness policy coverage audit-policy.yaml
  kubewitness policy simulate new-policy.yaml --baseline audit-policy.yaml /var/log/kubernetes/audit/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands; each sets `run`."""
    subparsers = parser.add_subparsers(title="commands", dest="subcommand", metavar="COMMAND", required=True)
    policy_check.add_subcommand(subparsers)
    policy_eval.add_subcommand(subparsers)
    policy_explain.add_subcommand(subparsers)
    policy_simulate.add_subcommand(subparsers)
    policy_diff.add_subcommand(subparsers)
    policy_prove.add_subcommands(subparsers)
    policy_coverage.add_subcommand(subparsers)
    policy_test.add_subcommand(subparsers)
    policy_suggest.add_subcommand(subparsers)
    policy_init.add_subcommand(subparsers)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command that was chosen."""
    return int(args.run(args))
