"""
The flags that say which requests are meant; every command that asks the log takes the same.

What the values mean is `look.query.syntax`; here they are named, explained, collected, and joined with `--where`.
"""

import argparse
import re
import time

import msgspec

from kubewitness.cli.errors import UserError
from kubewitness.event.expr import FALSE, TRUE, And, Expr, IsNull, Ref
from kubewitness.event.expr_logic import NO_FACTS, Facts
from kubewitness.event.fields import FIELDS
from kubewitness.event.recordable import unrecordable
from kubewitness.look.query.syntax import ACTOR_KINDS, FlagError, filter_of

# names, metavar, help; the order is that of the question "who did what, to what, how did it end"
_FLAGS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("--user",), "USER", "user name"),
    (("--group",), "GROUP", "group of the user"),
    (("--as",), "USER", "user name acted as, by impersonation"),
    (("--sa",), "NS/NAME", "service account"),
    (("--actor-kind",), "KIND", ", ".join(ACTOR_KINDS)),
    (("--verb",), "VERB", "verb of the log: get, list, create, ..."),
    (("--action",), "ACTION", "what was done, whatever the verb: exec, portforward, token, bind, ..."),
    (("--resource",), "RESOURCE", "pods, po/exec, deployments.apps, '*/status'"),
    (("--subresource",), "SUBRESOURCE", "exec, log, status, ..."),
    (("-n", "--namespace"), "NAMESPACE", "namespace of the object"),
    (("--name",), "NAME", "name of the object"),
    (("--code",), "CODE", "HTTP status: 403, 4xx, 400-499, '>=400'"),
    (("--outcome",), "OUTCOME", "allowed, denied (401, 403) or failed"),
    (("--ip",), "CIDR", "address or network of any hop, claimed ones too"),
    (("--peer-ip",), "CIDR", "address or network of the last hop, the only one that is known"),
    (("--user-agent",), "AGENT", "what the client calls itself, with or without its version"),
    (("--stage",), "STAGE", "stage of the row shown; see --stages"),
    (("--level",), "LEVEL", "Metadata, Request or RequestResponse"),
    (("--audit-id",), "ID", "auditID; a client may have chosen it"),
    (("--uid",), "UID", "uid of the user or of the object"),
)


class Condition(msgspec.Struct, frozen=True):
    """What the flags mean: as a filter, and as SQL for the rows for which it is true, and unknown."""

    filter: Expr = TRUE
    facts: Facts = NO_FACTS
    written: tuple[str, str] | None = None
    """The SQL, where it says more than the filter."""
    named: tuple[str, ...] = ()
    """Paths that `--where` names and that could be kept out of an Event."""

    @property
    def is_of_flags(self) -> bool:
        """The SQL says what the filter says, and no more."""
        return self.written is None

    @property
    def where(self) -> str:
        """SQL for the rows for which it is true; written only when asked for, as not every answer takes SQL."""
        from kubewitness.look.query import sql

        return sql.where(self.filter, self.facts) if self.written is None else self.written[0]

    @property
    def unknown(self) -> str:
        """SQL for the rows for which nobody can tell."""
        from kubewitness.look.query import sql

        return sql.unknown(self.filter, self.facts) if self.written is None else self.written[1]


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose requests."""
    group = parser.add_argument_group(
        "which requests",
        "A flag given twice, or values between commas, mean either; different flags mean\nboth. "
        "* and ? are wildcards, ! before a value excludes it.",
    )
    for names, metavar, text in _FLAGS:
        group.add_argument(*names, metavar=metavar, action="append", help=text)
    group.add_argument("-A", "--all-namespaces", action="store_true", help="every namespace (the default)")
    group.add_argument("--since", "--after", metavar="TIME", help="from: 90m, 7d, 2026-11-23 or RFC 3339; UTC")
    group.add_argument("--until", "--before", metavar="TIME", help="up to and with; a date means its whole day")
    group.add_argument(
        "--account", action="store_true", help="look for damage in every line, also where few can match: slower"
    )
    group.add_argument("--where", metavar="SQL", help="any condition in SQL over the fields, as in `sql`")
    group.add_argument(
        "--stages",
        choices=("latest", "all"),
        metavar="WHICH",
        default="latest",
        help="latest: one row a request, its latest stage (default); all: every stage",
    )


def add_limit_argument(group: "argparse._ArgumentGroup", default: int | None = None, where: str = "") -> None:
    """Add --limit; without a default everything is shown. `where` says where there is one."""
    text = "show the first N, and say that there are more"
    group.add_argument(
        "--limit",
        type=_row_count,
        metavar="N",
        default=default,
        help=f"{text} (default{f' {where}' if where else ''}: {default}; 0 shows all)" if default else text,
    )


def condition_of(args: argparse.Namespace, facts: Facts = NO_FACTS) -> Condition:
    """Give what the flags of a command mean together; everything, for a command without such flags.

    `facts` are what is certain of the input: the more, the shorter the SQL.
    """
    if "where" not in args:
        return Condition()
    try:
        wanted = filter_of(given(args), since=args.since, until=args.until, now=time.time_ns() // 1000)
    except FlagError as error:
        raise UserError(str(error)) from error
    condition = Condition(wanted, facts)
    return _and_where(condition, args.where, facts) if args.where else condition


def _and_where(flags: Condition, free: str, facts: Facts) -> Condition:
    """Add a condition in SQL, which is unknown where it is NULL and a field it names could not be recorded."""
    from kubewitness.look.query import sql

    named = fields_named(free)
    lacking = [sql.where(And((IsNull(Ref(path)), unrecordable(path))), facts) for path in named]
    free = f"({free}\n)"
    perhaps = f"({free} IS NULL AND ({' OR '.join(f'({one})' for one in lacking)}))" if lacking else "FALSE"
    either = free if perhaps == "FALSE" else f"({free} OR {perhaps})"
    both = [f"({flags.unknown}) AND {either}"] if flags.unknown != "FALSE" else []
    both += [f"({flags.where}) AND {perhaps}"] if perhaps != "FALSE" else []
    where = free if flags.filter == TRUE else f"({flags.where}) AND {free}"
    return Condition(flags.filter, facts, (where, " OR ".join(f"({one})" for one in both) or "FALSE"), named)


def fields_named(free: str) -> tuple[str, ...]:
    """Give the paths of the fields that this SQL may read and that can be kept out of an Event; rather too many."""
    words = {word.lower() for word in re.findall(r"\w+", free)}
    return tuple(
        field.path
        for field in FIELDS
        if (field.column in words or set(field.path.lower().split(".")) <= words) and unrecordable(field.path) != FALSE
    )


def given(args: argparse.Namespace) -> dict[str, list[str]]:
    """Give the flags that were given, by their long name without dashes, with their values."""
    if args.all_namespaces and args.namespace:
        raise UserError("give either -n or -A, not both")
    names = [flags[-1].removeprefix("--") for flags, _, _ in _FLAGS]
    return {name: values for name in names if (values := getattr(args, name.replace("-", "_")))}


def _row_count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows")
    return int(text)
