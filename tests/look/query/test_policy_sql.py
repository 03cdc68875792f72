"""The SQL form of a policy: equal to evaluate over drawn events and over the recorded logs."""

import duckdb
import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.event.types import Event, Level, ObjectReference, Stage, UserInfo
from kubewitness.look.query.policy_sql import NO_RULE, policy_sql
from kubewitness.policy.evaluate import compile_policy
from kubewitness.policy.load import load
from kubewitness.policy.request import RequestError, attributes_from_event, request_info
from kubewitness.policy.types import Policy, PolicyRule
from tests.policy.vectors import DATA
from tests.strategies import GROUPS, USERS, policies, request_lines

COLUMNS = (
    "stage", "verb", "request_uri", "username", "groups", "resource", "namespace", "name", "api_group", "api_version",
    "subresource",
)  # fmt: skip
TABLE = ", ".join(f"{name} {'VARCHAR[]' if name == 'groups' else 'VARCHAR'}" for name in COLUMNS)
CONNECTION = duckdb.connect()


def row(event: Event) -> list[object]:
    """Give the flat columns of an event."""
    user, reference = event.user or UserInfo(), event.object_ref or ObjectReference()
    return [
        event.stage.value,
        event.verb,
        event.request_uri,
        user.username,
        list(user.groups) if user.groups is not None else None,
        reference.resource,
        reference.namespace,
        reference.name,
        reference.api_group,
        reference.api_version,
        reference.subresource,
    ]


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Draw an event as a server writes it: objectRef from the URL, gaps and body names included."""
    try:
        method, url = draw(request_lines())
        info = request_info(method, url)
    except RequestError:
        method, url = "GET", "/healthz"
        info = request_info(method, url)
    username = draw(st.sampled_from((None, *USERS)))
    user = UserInfo(username=username, groups=tuple(draw(st.lists(st.sampled_from(GROUPS), max_size=2))) or None)
    reference = None
    if info.is_resource_request:
        name, namespace = info.name, info.namespace
        if info.verb == "create" and not name:
            name = draw(st.sampled_from(("", "web", "db")))
            namespace = namespace or draw(st.sampled_from(("", "", "prod")))
        reference = ObjectReference(
            resource=info.resource or None,
            namespace=namespace or None,
            name=name or None,
            api_group=info.api_group or None,
            api_version=info.api_version or None,
            subresource=info.subresource or None,
        )
    uri: str | None = url
    lost = draw(st.integers(0, 9))
    if lost == 0:
        reference = None if "fieldSelector" not in url else reference
    elif lost == 1:
        uri = None
    return Event(
        stage=draw(st.sampled_from(Stage)),
        verb=info.verb or draw(st.sampled_from(("", None))),
        request_uri=uri,
        user=user,
        object_ref=reference,
    )


@settings(max_examples=30, deadline=None)
@given(policies(), st.lists(events(), min_size=1, max_size=40))
def test_sql_equals_evaluate(policy, drawn):
    """Rule, level, stages and managed fields of every drawn event are those of evaluate."""
    connection = CONNECTION.cursor()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE events ({TABLE})")
    rows = [row(event) for event in drawn]
    marks = ", ".join([f"({', '.join('?' * len(COLUMNS))})"] * len(rows))
    connection.execute(f"INSERT INTO events VALUES {marks}", [cell for cells in rows for cell in cells])
    sql = policy_sql(policy)
    found = connection.execute(
        f"SELECT {sql.rule_index}, {sql.level}, {sql.omit_stages}, {sql.omit_managed_fields}, {sql.is_recorded} "
        "FROM events ORDER BY rowid"
    ).fetchall()
    compiled = compile_policy(policy)
    for event, answer in zip(drawn, found, strict=True):
        decision = compiled.decide(attributes_from_event(event))
        assert answer == (
            NO_RULE if decision.rule_index is None else decision.rule_index,
            decision.level.value,
            sorted(stage.value for stage in decision.omit_stages),
            decision.omit_managed_fields,
            decision.level.value != "None" and event.stage not in decision.omit_stages,
        ), event


@pytest.mark.parametrize("name", ["full", "security", "metadata"])
def test_recorded_logs(name, tmp_path):
    """Every recorded event: the SQL of its own policy gives its level and keeps its stage."""
    packed = (DATA / f"audit-{name}.log.zst").read_bytes()
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(packed).split(b"\n")
    decoder = msgspec.json.Decoder(Event)
    recorded = [decoder.decode(line) for line in lines if line]
    connection = CONNECTION.cursor()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE events ({TABLE}, level VARCHAR)")
    rows = tmp_path / "rows.json"
    rows.write_bytes(
        b"\n".join(
            msgspec.json.encode(dict(zip((*COLUMNS, "level"), (*row(event), event.level.value), strict=True)))
            for event in recorded
        )
    )
    types = dict(part.split() for part in f"{TABLE}, level VARCHAR".split(", "))
    connection.execute("INSERT INTO events BY NAME FROM read_ndjson(?, columns=?)", [str(rows), types])
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (len(recorded),)
    sql = policy_sql(load((DATA / "policies" / f"{name}.yaml").read_bytes()))
    wrong = connection.execute(f"SELECT count(*) FROM events WHERE {sql.level} <> level OR NOT {sql.is_recorded}")
    assert wrong.fetchall() == [(0,)]


@pytest.mark.parametrize("name", ["", "o'hara", "\x1b[31mred", "a\0b", "\u202eevil\n", "Zoë 日本"])
def test_names_are_found_and_show_nothing_a_terminal_obeys(name):
    """Whatever a policy calls a user, the SQL is one printable line that finds exactly this user."""
    sql = policy_sql(Policy((PolicyRule(Level.METADATA, users=(name,)),)))
    assert sql.rule_index.isprintable()
    connection = CONNECTION.cursor()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE events ({TABLE})")
    for username in (name, name + "x"):
        event = Event(
            stage=Stage.RESPONSE_COMPLETE, verb="get", request_uri="/version", user=UserInfo(username=username)
        )
        connection.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(COLUMNS))})", row(event))
    found = connection.execute(f"SELECT {sql.rule_index} FROM events ORDER BY rowid").fetchall()
    assert found == [(0,), (NO_RULE,)]
