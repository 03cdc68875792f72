"""
The flags that say which requests are meant; every command that asks the log takes the same.

A flag given twice means either; different flags mean both. Values are globs, `!` before one excludes it.
What they mean is `look.query.syntax`; here they are only named, explained and collected.
"""

import argparse

from kubewitness.cli.errors import UserError

# flag, further names, metavar, help: the order is that of the question "who did what, to what, how did it end"
_FLAGS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("--user",), "USER", "user name, the one impersonated too"),
    (("--group",), "GROUP", "group of the user"),
    (("--sa",), "NS/NAME", "service account"),
    (("--actor-kind",), "KIND", "human, serviceaccount, node, controller, apiserver, anonymous or unauthenticated"),
    (("--verb",), "VERB", "verb of the log: get, list, create, ..."),
    (("--action",), "ACTION", "what was done whatever the verb: exec, portforward, token, bind, ..."),
    (("--resource",), "RESOURCE", "pods, pods/exec, deployments.apps, */status"),
    (("--subresource",), "SUBRESOURCE", "exec, log, status, ..."),
    (("-n", "--namespace"), "NAMESPACE", "namespace of the object"),
    (("--name",), "NAME", "name of the object"),
    (("--code",), "CODE", "HTTP status: 403, 4xx, '>=400'"),
    (("--outcome",), "OUTCOME", "allowed, denied (401, 403) or failed"),
    (("--ip",), "CIDR", "address or network of any hop, claimed ones too"),
    (("--peer-ip",), "CIDR", "address or network of the last hop, the only one that is known"),
    (("--user-agent",), "AGENT", "what the client calls itself"),
    (("--stage",), "STAGE", "stage of the event shown; see --stages"),
    (("--level",), "LEVEL", "Metadata, Request or RequestResponse"),
    (("--audit-id",), "ID", "auditID; a client may have chosen it"),
    (("--uid",), "UID", "uid of the user or of the object"),
)


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose requests."""
    group = parser.add_argument_group(
        "which requests", "Give a flag twice for either value; globs (*, ?) match, ! before a value excludes it."
    )
    for names, metavar, text in _FLAGS:
        group.add_argument(*names, metavar=metavar, action="append", help=text)
    group.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace (the default)")
    group.add_argument("--since", "--after", metavar="TIME", help="from: 90m, 7d, 2026-11-23 or RFC 3339, UTC")
    group.add_argument("--until", "--before", metavar="TIME", help="up to, not including")
    group.add_argument("--where", metavar="SQL", help="any condition in SQL over the fields, as in `sql`")
    group.add_argument(
        "--stages",
        choices=("latest", "all"),
        default="latest",
        help="one row a request, its latest stage (default), or every stage",
    )


def given(args: argparse.Namespace) -> dict[str, list[str]]:
    """Give the flags that were given, by their long name without dashes, with their values."""
    if args.all_namespaces and args.namespace:
        raise UserError("give either -n or -A, not both")
    found: dict[str, list[str]] = {}
    for names, _, _ in _FLAGS:
        name = names[-1].removeprefix("--")
        values = getattr(args, name.replace("-", "_"))
        if values:
            found[name] = values
    return found
