"""From what people type to a filter."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubewitness.event import microtime
from kubewitness.event.expr import TRUE
from kubewitness.event.filter import PLAIN, evaluate
from kubewitness.event.types import Event
from kubewitness.look.query import sql, syntax
from kubewitness.look.query.syntax_resources import PLURALS, plural
from tests.model.filter_events import DECODE

NOW = microtime.parse("2026-11-23T12:00:00Z")
EVENT: dict[str, object] = {
    "stage": "ResponseComplete",
    "level": "Metadata",
    "auditID": "a1",
    "verb": "create",
    "requestURI": "/api/v1/namespaces/production/pods/web/exec?command=id",
    "user": {
        "username": "system:serviceaccount:ci:deployer",
        "groups": ["system:serviceaccounts", "dev,ops"],
        "uid": "u1",
    },
    "sourceIPs": ["198.51.100.7", "10.1.2.3"],
    "userAgent": "kubectl/v1.36.0 (linux/amd64)",
    "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "production", "name": "web"},
    "responseStatus": {"code": 403},
    "requestReceivedTimestamp": "2026-11-23T11:00:00.500000Z",
}


def event(**changes: object) -> Event:
    """Make the Event above with changes."""
    return DECODE(msgspec.json.encode({**EVENT, **changes}))


def answer(flags: dict[str, list[str]], happened: Event | None = None) -> bool | None:
    """Give the answer of flags for the Event above, or another one."""
    return evaluate(syntax.filter_of(flags), happened or event())


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("user", "system:serviceaccount:ci:deployer", True),
        ("user", "system:serviceaccount:ci", False),
        ("user", "system:*", True),
        ("user", "*:deploye?", True),
        ("user", "alice,system:*", True),
        ("user", "!alice", True),
        ("user", "!system:*", False),
        ("user", "system:*,!*:deployer", False),
        ("user", "SYSTEM:*", False),
        ("group", "system:serviceaccounts", True),
        ("group", "dev", False),
        ("group", "dev\\,ops", True),
        ("group", "!dev*", False),
        ("sa", "ci/deployer", True),
        ("sa", "*/deployer", True),
        ("sa", "ci/*", True),
        ("sa", "system:serviceaccount:ci:deployer", True),
        ("sa", "system:serviceaccount:ci:other", False),
        ("sa", "default/deployer", False),
        ("actor-kind", "serviceaccount", True),
        ("actor-kind", "ServiceAccount", True),
        ("actor-kind", "!human", True),
        ("verb", "create", True),
        ("verb", "GET,Create", True),
        ("action", "exec", True),
        ("action", "create", False),
        ("action", "token,exec", True),
        ("action", "impersonate", None),
        ("resource", "pods", True),
        ("resource", "po", True),
        ("resource", "Pod", True),
        ("resource", "pods/exec", True),
        ("resource", "pods/log", False),
        ("resource", "pods/", False),
        ("resource", "*/exec", True),
        ("resource", "pod?", True),
        ("resource", "pods.core", True),
        ("resource", "pods.v1", True),
        ("resource", "pods.apps", False),
        ("resource", "*", True),
        ("resource", "secrets,po", True),
        ("resource", "!secrets", True),
        ("subresource", "exec,attach", True),
        ("namespace", "prod*", True),
        ("namespace", "!production", False),
        ("name", "web", True),
        ("name", "we\\*", False),
        ("code", "403", True),
        ("code", "4xx", True),
        ("code", "4XX", True),
        ("code", "5xx", False),
        ("code", ">=400", True),
        ("code", "<400", False),
        ("code", "> 400", True),
        ("code", "400-403", True),
        ("code", "404,500-599", False),
        ("code", "!403", False),
        ("outcome", "denied", True),
        ("outcome", "!allowed", True),
        ("ip", "198.51.100.0/24", True),
        ("ip", "10.1.2.3", True),
        ("ip", "10.1.2.4", False),
        ("ip", "10.0.0.9/8", True),
        ("ip", "::ffff:10.1.2.3", True),
        ("ip", "::ffff:10.0.0.0/104", True),
        ("ip", "2001:db8::/32", False),
        ("peer-ip", "10.0.0.0/8", True),
        ("peer-ip", "198.51.100.7", False),
        ("user-agent", "kubectl", True),
        ("user-agent", "kube", False),
        ("user-agent", "*linux*", True),
        ("stage", "responsecomplete", True),
        ("stage", "Panic", False),
        ("level", "Metadata,Request", True),
        ("audit-id", "a1", True),
        ("uid", "u1", True),
        ("uid", "u2", None),
        ("as", "jane", None),
    ],
)
def test_flag(flag: str, value: str, expected: bool | None) -> None:
    """Each flag finds what its words say. (The Event above was refused without a message: who was meant is open.)"""
    happened = event(responseStatus={"code": 403, "message": "x cannot impersonate y"}) if flag == "as" else event()
    if flag == "action" and value == "impersonate":
        happened = event(stage="RequestReceived", responseStatus={})
    assert answer({flag: [value]}, happened) is expected


def test_action_impersonate_finds_both() -> None:
    """A refused impersonation and one that succeeded."""
    refused = event(responseStatus={"code": 403, "message": 'forbidden: User "a" cannot impersonate-on:user-info:get'})
    assert answer({"action": ["impersonate"]}, refused) is True
    assert answer({"action": ["impersonate"]}, event(impersonatedUser={"username": "b"})) is True
    assert answer({"action": ["impersonate"]}) is False


def test_flags_together() -> None:
    """Given twice means either, different flags mean both, none means everything."""
    assert answer({"user": ["alice", "system:*"]}) is True
    assert answer({"user": ["system:*"], "verb": ["get"]}) is False
    assert syntax.filter_of({}) == TRUE
    assert syntax.filter_of({"user": []}) == TRUE


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("1h", None, True),
        ("59m", None, False),
        ("2026-11-23T11:00:00.500000Z", "2026-11-23T11:00:00.500000Z", True),
        ("2026-11-23T13:00:00.500000+02:00", None, True),
        ("2026-11-23T11:00:00.5Z", None, True),
        ("2026-11-23T11:00:00.500001Z", None, False),
        (None, "2026-11-23T11:00:00Z", False),
        (None, "2026-11-23", True),
        ("2026-11-23", None, True),
        ("2026-11-24", None, False),
    ],
)
def test_times(since: str | None, until: str | None, expected: bool) -> None:
    """Times are compared as times: not as text, where `.5Z` sorts before `Z`; a date as the end includes its day."""
    assert evaluate(syntax.filter_of({}, since=since, until=until, now=NOW), event()) is expected


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"verb": ["exec"]}, "--verb exec: the log has no such verb; --action exec finds it"),
        ({"code": ["40"]}, "--code 40: an HTTP status is 403, 4xx, 400-499 or '>=400'"),
        ({"code": ["499-400"]}, "--code 499-400: the range ends before it begins"),
        ({"ip": ["10.0.0"]}, "--ip 10.0.0: an address or network is 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32"),
        ({"peer-ip": ["x"]}, "--peer-ip x: an address or network is 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32"),
        ({"outcome": ["alowed"]}, "--outcome alowed: not one of allowed, denied, failed; did you mean allowed?"),
        ({"action": ["frobnicate"]}, "--action frobnicate: not one of approve, "),
        (
            {"sa": ["deployer"]},
            "--sa deployer: a service account is NAMESPACE/NAME, such as ci/deployer or '*/deployer'",
        ),
        ({"user": [""]}, "--user '': a value is missing"),
        ({"user": ["!"]}, "--user '!': a value is missing"),
        ({"user": [","]}, "--user ',': a value is missing"),
        (
            {"resource": ["/exec"]},
            "--resource /exec: a resource is NAME, NAME.GROUP or NAME/SUBRESOURCE, such as pods/exec",
        ),
        ({"stage": ["Complete"]}, "--stage Complete: not one of RequestReceived, "),
    ],
)
def test_errors_name_the_flag(flags: dict[str, list[str]], words: str) -> None:
    """What cannot be meant names the flag, the value, and what would be right."""
    with pytest.raises(syntax.FlagError) as caught:
        syntax.filter_of(flags)
    assert str(caught.value).startswith(words)


def test_time_errors_name_the_flag() -> None:
    """A time that is none, and an end before the beginning."""
    with pytest.raises(syntax.FlagError, match=r"^--since: 'yesterday' is not a time"):
        syntax.filter_of({}, since="yesterday", now=NOW)
    with pytest.raises(syntax.FlagError, match=r"^--until 2h: lies before --since 1h"):
        syntax.filter_of({}, since="1h", until="2h", now=NOW)


def test_common_questions_are_lean_sql() -> None:
    """What every level records compiles to what one would write by hand, with nothing unknown."""
    flags = {"verb": ["get"], "resource": ["secrets"], "user": ["dev*"]}
    filter_ = syntax.filter_of(flags)
    assert sql.where(filter_, PLAIN) == "verb = 'get' AND resource = 'secrets' AND starts_with(username, 'dev')"
    assert sql.unknown(filter_, PLAIN) == "FALSE"
    needle = syntax.filter_of({"verb": ["delete"], "resource": ["secrets"], "name": ["important"]})
    assert sql.where(needle, PLAIN) == "verb = 'delete' AND resource = 'secrets' AND name = 'important'"
    assert sql.unknown(needle, PLAIN) == "FALSE"
    failed = syntax.filter_of({"code": [">=400"]})
    assert sql.where(failed, PLAIN) == "code >= 400"
    assert sql.unknown(failed, PLAIN) == "code IS NULL AND stage = 'RequestReceived'"


@given(
    st.lists(
        st.text(min_size=1).filter(lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text)), min_size=1
    )
)
def test_any_text_can_be_typed(names: list[str]) -> None:
    """With its special signs escaped any user name is found, and no other."""
    typed = ",".join("".join("\\" + sign if sign in "\\*?,!" else sign for sign in name) for name in names)
    filter_ = syntax.filter_of({"user": [typed]})
    for name in names:
        assert evaluate(filter_, event(user={"username": name})) is True
    assert evaluate(filter_, event(user={"username": "".join(names) + "x"})) is False


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("po", "pods"),
        ("Pod", "pods"),
        ("pod", "pods"),
        ("crb", "clusterrolebindings"),
        ("NetworkPolicy", "networkpolicies"),
        ("endpoints", "endpoints"),
        ("widgets", "widgets"),
        ("widget", "widget"),
        ("Widget", "widgets"),
        ("Proxy", "proxies"),
        ("Gateway", "gateways"),
        ("Ingress", "ingresses"),
        ("Mesh", "meshes"),
    ],
)
def test_resource_names(typed: str, meant: str) -> None:
    """Short names, singulars and kinds give the plural; what is not built in stays, unless it is a kind."""
    assert plural(typed) == meant


def test_every_plural_is_itself() -> None:
    """No short name hides a plural."""
    assert all(PLURALS[name] == name for name in PLURALS.values())
