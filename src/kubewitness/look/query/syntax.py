r"""
From what people type to a filter: `--resource po/exec --user 'dev*,!ci-*' --code 4xx --since 2h`.

    filter_of({"resource": ["po/exec"], "user": ["dev*,!ci-*"]}, since="2h", now=now)

A flag given twice, or its values between commas, mean either; different flags mean both. `!` before a value excludes
it. `*` stands for any text, `?` for one character; `\` takes the meaning from the sign after it (`\*`, `\,`, `\!`).
Resources go by plural, singular, kind or short name. What cannot be meant is a `FlagError` that names the flag, the
value and what would be right. Nothing here reads a clock: the caller says what `now` is.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from kubewitness._kit import lazy
from kubewitness.event import microtime
from kubewitness.event.derive import REFUSED_IMPERSONATION, VERBS
from kubewitness.event.expr import (
    NULL,
    TRUE,
    And,
    Any,
    Case,
    Compare,
    Comparison,
    Element,
    Expr,
    IsNull,
    Json,
    Known,
    Literal,
    Network,
    Not,
    Or,
    Ref,
    Within,
    equals,
    glob,
)
from kubewitness.event.expr_logic import conjunction, disjunction
from kubewitness.event.filter import test
from kubewitness.event.types import Level, Stage
from kubewitness.look.query.syntax_resources import group_of, plural

ACTIONS = {
    "approve": "approved or denied a CertificateSigningRequest",
    "attach": "attached to a container",
    "bind": "created or changed a RoleBinding or ClusterRoleBinding",
    "debug": "put an ephemeral container into a Pod",
    "evict": "asked for the eviction of a Pod",
    "exec": "ran a command in a container, also through the kubelet's API behind nodes/proxy",
    "impersonate": "tried to act as another and was refused; --action impersonate finds those who succeeded too",
    "log": "read the log of a container",
    "portforward": "opened a tunnel to a Pod",
    "proxy": "sent a request through the API server to a Node, Pod or Service",
    "review": "asked who one is or what one may do; nothing is stored",
    "scale": "changed the number of replicas",
    "schedule": "bound a Pod to a Node",
    "token": "had a token issued for a ServiceAccount",
}
"""What was done that no verb of the log says. Any other request has its verb as its action, or `other`."""

ACTOR_KINDS = ("human", "serviceaccount", "node", "controller", "apiserver", "anonymous", "unauthenticated")
OUTCOMES = ("allowed", "denied", "failed")


class FlagError(ValueError):
    """A flag that cannot be meant; the text names it, shows the value, and says what would be right."""


def filter_of(
    flags: Mapping[str, Sequence[str]], *, since: str | None = None, until: str | None = None, now: int = 0
) -> Expr:
    """Give the filter that these flags mean together; TRUE for none. `flags` go by their long names without dashes."""
    parts = [_FLAGS[name](f"--{name}", values) for name, values in flags.items() if values]
    return conjunction((*parts, between(since, until, now)))


def between(since: str | None, until: str | None, now: int) -> Expr:
    """Give the requests received from `since` to `until`, both included; a date as `until` includes that day."""
    bounds: tuple[tuple[str, str | None, Comparison, bool], ...] = (
        ("--since", since, ">=", False),
        ("--until", until, "<=", True),
    )
    parts, moments = [], []
    for flag, text, operator, is_end in bounds:
        if text is not None:
            try:
                moment = microtime.parse_when(text, now, is_end=is_end)
            except microtime.TimeError as exc:
                raise FlagError(f"{flag}: {exc}") from exc
            moments.append(moment)
            parts.append(test(Compare(operator, Ref("requestReceivedTimestamp"), Literal(moment))))
    if len(moments) == 2 and moments[0] > moments[1]:
        raise FlagError(f"--until {until}: lies before --since {since}")
    return conjunction(parts)


def split_values(flag: str, values: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take values apart at commas into those wanted and those excluded by `!`; escapes of globs stay."""
    wanted: list[str] = []
    excluded: list[str] = []
    for value in values:
        for piece in re.findall(r"(?:[^,\\]|\\.|\\$)*", value, re.DOTALL)[:-1] or [value]:
            if piece == "" and value != "":
                continue
            negated = piece.startswith("!")
            text = piece[1:] if negated else piece
            if text == "":
                raise FlagError(f"{flag} {value!r}: a value is missing")
            (excluded if negated else wanted).append(text)
    if values and not wanted and not excluded:
        raise FlagError(f"{flag} {', '.join(map(repr, values))}: a value is missing")
    return wanted, excluded


Meaning = Callable[[str, str], Expr]
"""What one value of a flag means: (flag, value) to a filter."""


def _any_of(meaning: Meaning) -> Callable[[str, Sequence[str]], Expr]:
    """Make the meaning of a flag from the meaning of one value."""

    def build(flag: str, values: Sequence[str]) -> Expr:
        wanted, excluded = split_values(flag, values)
        parts = [_merge([meaning(flag, value) for value in wanted])] if wanted else []
        return conjunction((*parts, *(Not(meaning(flag, value)) for value in excluded)))

    return build


def _merge(parts: list[Expr]) -> Expr:
    """Give the Or of filters, as one IN where all are equalities with texts of one field."""
    fields: set[Expr] = set()
    found: list[str] = []
    for part in parts:
        match part:
            case Known(Compare("=", Ref() as field, Literal(value)), _) if isinstance(value, str):
                fields.add(field)
                found.append(value)
            case _:
                return disjunction(parts)
    return test(equals(fields.pop(), *found)) if len(fields) == 1 else disjunction(parts)


def _glob(path: str) -> Meaning:
    return lambda _, value: test(glob(Ref(path), value))


def _glob_any(path: str) -> Meaning:
    return lambda _, value: test(Any(Ref(path), glob(Element(), value)))


def _choice(path: str, options: tuple[str, ...]) -> Meaning:
    return lambda flag, value: test(equals(Ref(path), choose(flag, value, options)))


def choose(flag: str, value: str, options: tuple[str, ...]) -> str:
    """Give the option that is meant, whatever its case; say which is nearest if none is."""
    by_name = {option.lower(): option for option in options}
    found = by_name.get(value.lower())
    if found is not None:
        return found
    import difflib

    near = difflib.get_close_matches(value.lower(), by_name, 1)
    hint = f"; did you mean {by_name[near[0]]}?" if near else ""
    raise FlagError(f"{flag} {value}: not one of {', '.join(options)}{hint}")


def _is_glob(value: str) -> bool:
    return any(sign in value for sign in "*?\\")


def present(value: Expr) -> Expr:
    """Ask whether a value is there: unknown where the Event could not have held it."""
    return test(Case(((Not(IsNull(value)), TRUE),), NULL))


_ACCOUNT = "system:serviceaccount:"


def _service_account(flag: str, value: str) -> Expr:
    if value.startswith(_ACCOUNT):  # as the log writes it
        value = value.removeprefix(_ACCOUNT).replace(":", "/", 1)
    namespace, slash, name = value.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise FlagError(f"{flag} {value}: a service account is NAMESPACE/NAME, such as ci/deployer or '*/deployer'")
    return test(glob(Ref("user.username"), f"{_ACCOUNT}{namespace}:{name}"))


def _verb(flag: str, value: str) -> Expr:
    verb = value.lower()
    if verb in ACTIONS and verb != "proxy":
        raise FlagError(f"{flag} {value}: the log has no such verb; --action {verb} finds it")
    return test(glob(Ref("verb"), verb))


def _action(flag: str, value: str) -> Expr:
    action = value.lower()
    if _is_glob(action):
        return test(glob(Ref("action"), action))
    action = choose(flag, action, (*ACTIONS, *filter(None, VERBS), "other"))
    if action == "impersonate":  # also where it succeeded, and the action is what was done as another
        return Or((test(REFUSED_IMPERSONATION), present(Ref("impersonatedUser.username"))))
    return test(equals(Ref("action"), action))


def _resource(flag: str, value: str) -> Expr:
    named, slash, subresource = value.partition("/")
    name, dot, group = named.partition(".")
    if not name or "/" in subresource:
        raise FlagError(f"{flag} {value}: a resource is NAME, NAME.GROUP or NAME/SUBRESOURCE, such as pods/exec")
    parts: list[Expr] = []
    if name != "*":
        parts.append(test(glob(Ref("objectRef.resource"), name if _is_glob(name) else plural(name))))
    elif not (dot or slash):
        parts.append(present(Ref("objectRef.resource")))
    if dot:
        group = group_of(group)
        parts.append(
            test(glob(Ref("objectRef.apiGroup"), group))
            if group
            else And((present(Ref("objectRef.resource")), Not(present(Ref("objectRef.apiGroup")))))
        )
    if slash:
        asked = Ref("objectRef.subresource")
        parts.append(test(glob(asked, subresource)) if subresource else Not(present(asked)))
    return conjunction(parts)


_CODE = lazy.pattern(r"(>=|<=|>|<|=)?\s*([1-9][0-9]{2})|([1-9])[xX]{2}|([1-9][0-9]{2})-([1-9][0-9]{2})")
_OPERATORS: dict[str, Comparison] = {"=": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def _code(flag: str, value: str) -> Expr:
    match = _CODE().fullmatch(value.strip())
    if match is None:
        raise FlagError(f"{flag} {value}: an HTTP status is 403, 4xx, 400-499 or '>=400'")
    operator, number, hundred, low, high = match.groups()
    code = Ref("responseStatus.code")
    if number is not None:
        return test(Compare(_OPERATORS[operator or "="], code, Literal(int(number))))
    first, last = (int(hundred) * 100, int(hundred) * 100 + 99) if hundred else (int(low), int(high))
    if first > last:
        raise FlagError(f"{flag} {value}: the range ends before it begins")
    return test(And((Compare(">=", code, Literal(first)), Compare("<=", code, Literal(last)))))


def parse_network(flag: str, value: str) -> Network:
    """Read an address or a network in CIDR notation."""
    import ipaddress

    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError as exc:
        raise FlagError(f"{flag} {value}: an address or network is 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32") from exc
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network((mapped, network.prefixlen - 96))
    return network


def _address(value: Expr, flag: str, text: str) -> Expr:
    network = parse_network(flag, text)
    if network.version == 4 and network.prefixlen == 32:
        address = str(network.network_address)
        return equals(value, address, f"::ffff:{address}")
    return Within(value, network)


def _any_hop(flag: str, value: str) -> Expr:
    return test(Any(Ref("sourceIPs"), _address(Element(), flag, value)))


def _peer(flag: str, value: str) -> Expr:
    return test(_address(Ref("source.peer"), flag, value))


def _user_agent(_: str, value: str) -> Expr:
    agent = Ref("userAgent")
    if _is_glob(value):
        return test(glob(agent, value))
    return test(Or((equals(agent, value), glob(agent, f"{value}/*"))))


_UIDS = (
    Ref("objectRef.uid"),
    Json(Ref("requestObject"), ("metadata", "uid")),
    Json(Ref("responseObject"), ("metadata", "uid")),
    Json(Ref("responseStatus.details"), ("uid",)),
)


def _uid(_: str, value: str) -> Expr:
    return Or(tuple(test(glob(uid, value)) for uid in (*_UIDS, Ref("user.uid"))))


_FLAGS: dict[str, Callable[[str, Sequence[str]], Expr]] = {
    "user": _any_of(_glob("user.username")),
    "group": _any_of(_glob_any("user.groups")),
    "as": _any_of(_glob("impersonatedUser.username")),
    "sa": _any_of(_service_account),
    "actor-kind": _any_of(_choice("actor.kind", ACTOR_KINDS)),
    "verb": _any_of(_verb),
    "action": _any_of(_action),
    "resource": _any_of(_resource),
    "subresource": _any_of(_glob("objectRef.subresource")),
    "namespace": _any_of(_glob("objectRef.namespace")),
    "name": _any_of(_glob("object.name")),
    "code": _any_of(_code),
    "outcome": _any_of(_choice("outcome", OUTCOMES)),
    "ip": _any_of(_any_hop),
    "peer-ip": _any_of(_peer),
    "user-agent": _any_of(_user_agent),
    "stage": _any_of(_choice("stage", tuple(stage.value for stage in Stage))),
    "level": _any_of(_choice("level", tuple(level.value for level in Level))),
    "audit-id": _any_of(_glob("auditID")),
    "uid": _any_of(_uid),
}
"""What each flag means, by its long name."""
FLAGS = tuple(_FLAGS)
