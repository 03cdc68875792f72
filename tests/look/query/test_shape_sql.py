"""Counted shapes: what policies decide of them is what they decide of the events, and what they weigh is exact."""

from collections import Counter

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kubewitness.event.types import Event
from kubewitness.look.query.run import open_events
from kubewitness.look.query.shape_sql import WEIGHTS, made_of, shape_sql, traffic_of, weights_of
from kubewitness.look.query.store import open_store
from kubewitness.policy.evaluate import compile_policy
from kubewitness.policy.load import load
from kubewitness.policy.request import attributes_from_event
from kubewitness.policy.shapes import Traffic, interest_of
from kubewitness.policy.types import Policy
from tests.look.query.stored import fill, index
from tests.look.query.test_policy_sql import COLUMNS, CONNECTION, TABLE, events, row
from tests.policy.vectors import DATA
from tests.strategies import policies

LEVELS = ("Metadata", "Request", "RequestResponse")


def lines_of(name: str) -> list[bytes]:
    """Give the lines of a recorded log."""
    packed = (DATA / f"audit-{name}.log.zst").read_bytes()
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed).split(b"\n")[:-1]


def counted(source: str, *found: Policy) -> Traffic:
    """Count a log for these policies."""
    interest = interest_of(found)
    with open_events([source]) as log:
        made, weights = made_of(interest), weights_of(interest)
        answer = log.query(shape_sql(interest, is_made=True), stages="all", weights=weights, made=made)
        return traffic_of(list(answer), interest)


@settings(max_examples=40, deadline=None)
@given(st.lists(policies(), min_size=1, max_size=2), st.lists(events(), min_size=1, max_size=40))
def test_shapes_are_decided_like_their_events(drawn_policies, drawn):
    """Whatever names policies state: rule, level and stage of the shapes count the same events."""
    connection = CONNECTION.cursor()
    further = "level VARCHAR, code BIGINT, received TIMESTAMP, stage_time TIMESTAMP"
    weights = ", ".join(f"{name} BIGINT" for name in WEIGHTS)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE events ({TABLE}, {further}, {weights})")
    rows = [[*row(event), LEVELS[at % 3], 200, None, None, 10, 0, 0, 0, 0] for at, event in enumerate(drawn)]
    marks = ", ".join([f"({', '.join('?' * len(rows[0]))})"] * len(rows))
    connection.execute(f"INSERT INTO events VALUES {marks}", [cell for cells in rows for cell in cells])
    interest = interest_of(drawn_policies)
    traffic = traffic_of(connection.execute(shape_sql(interest)).fetchall(), interest)
    for policy in drawn_policies:
        compiled = compile_policy(policy)
        wanted = Counter(
            (compiled.decide(attributes_from_event(event)), LEVELS[at % 3], event.stage)
            for at, event in enumerate(drawn)
        )
        found: Counter[object] = Counter()
        for shape in traffic.shapes:
            found[compiled.decide(shape.request), shape.level.value, shape.stage] += shape.events
        assert found == wanted
    assert len(COLUMNS) < len(rows[0])


def test_an_event_without_a_url_has_no_path(tmp_path):
    """A pattern for all paths is not about it."""
    policy = load(b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  nonResourceURLs: ['/*']\n")
    (tmp_path / "audit.log").write_text(
        '{"kind":"Event","stage":"ResponseComplete","verb":"get","requestURI":"/","user":{"username":"bob"}}\n'
        '{"kind":"Event","stage":"ResponseComplete","verb":"get","user":{"username":"bob"}}\n'
    )
    traffic = counted(str(tmp_path / "audit.log"), policy)
    rules = {shape.request.path: compile_policy(policy).decide(shape.request).rule_index for shape in traffic.shapes}
    assert rules == {"/*": 0, "": None}


@pytest.mark.parametrize(
    ("field", "uri"),
    [
        ('users: ["system:node:*"]', "/api/v1/nodes"),
        ('namespaces: ["?"]', "/api/v1/namespaces/prod/pods/web"),
        ('resources: [{resources: ["*"], resourceNames: ["?"]}]', "/api/v1/namespaces/prod/pods/web"),
        ('nonResourceURLs: ["/?", "/healthz"]', "/logs"),
    ],
)
def test_what_stands_for_many_is_no_pattern(field, uri, tmp_path):
    """A rule with a star or a question mark that the server takes literally does not match what is counted together."""
    policy = load(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  {field}\n")
    parts = '"resource":"pods","namespace":"prod","name":"web","apiVersion":"v1"'
    reference = f',"objectRef":{{{parts}}}' if "pods" in uri else ""
    (tmp_path / "audit.log").write_text(
        f'{{"kind":"Event","stage":"ResponseComplete","verb":"get","requestURI":"{uri}",'
        f'"user":{{"username":"system:node:n1"}}{reference}}}\n'
    )
    (shape,) = counted(str(tmp_path / "audit.log"), policy).shapes
    assert compile_policy(policy).decide(shape.request).rule_index is None


@pytest.mark.parametrize("name", ["full", "security", "metadata"])
def test_recorded_logs(name, tmp_path):
    """Events and bytes by rule, level and stage, under every policy we have, are those of the events one by one."""
    lines = lines_of(name)
    (tmp_path / "audit.log").write_bytes(b"".join(line + b"\n" for line in lines))
    found = [load(path.read_bytes()) for path in sorted((DATA / "policies").glob("*.yaml"))]
    traffic = counted(str(tmp_path / "audit.log"), *found)
    assert traffic.events == len(lines)
    assert traffic.size == sum(len(line) + 1 for line in lines)
    decoded = [(len(line) + 1, msgspec.json.decode(line, type=Event)) for line in lines]
    for policy in found:
        compiled = compile_policy(policy)
        wanted: Counter[object] = Counter()
        for size, event in decoded:
            key = (compiled.decide(attributes_from_event(event)), event.level, event.stage)
            wanted[key, "events"] += 1
            wanted[key, "bytes"] += size
        counts: Counter[object] = Counter()
        for shape in traffic.shapes:
            key = (compiled.decide(shape.request), shape.level, shape.stage)
            counts[key, "events"] += shape.events
            counts[key, "bytes"] += shape.size
        assert counts == wanted


class _Bodies(msgspec.Struct):
    requestObject: msgspec.Raw = msgspec.Raw()  # noqa: N815 - the name on the wire
    responseObject: msgspec.Raw = msgspec.Raw()  # noqa: N815


def test_a_policy_of_a_thousand_rules(tmp_path):
    """So many groups, names, namespaces and URLs are still one question, and decided alike."""
    rules = [
        f"- {{level: Request, users: [u{i}], userGroups: ['g{i}', 'system:nodes'], namespaces: [n{i}], "
        f"resources: [{{group: 'a{i}.b', resources: [r{i}], resourceNames: [m{i}]}}]}}\n"
        f"- {{level: None, userGroups: ['h{i}', 'system:masters'], nonResourceURLs: ['/p{i}*', '/q{i}', '/readyz']}}\n"
        for i in range(500)
    ]
    policy = load("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n" + "".join(rules) + "- {level: Metadata}\n")
    lines = lines_of("metadata")
    (tmp_path / "audit.log").write_bytes(b"".join(line + b"\n" for line in lines))
    traffic = counted(str(tmp_path / "audit.log"), policy)
    compiled = compile_policy(policy)
    wanted = Counter(compiled.decide(attributes_from_event(msgspec.json.decode(line, type=Event))) for line in lines)
    found: Counter[object] = Counter()
    for shape in traffic.shapes:
        found[compiled.decide(shape.request)] += shape.events
    assert found == wanted
    assert len(wanted) == 2


def test_bodies_weigh_what_they_take_in_the_line(tmp_path):
    """Go's escapes of <, > and & count as written; only U+2028 and U+2029 are told a few bytes shorter."""
    lines = lines_of("full")
    (tmp_path / "audit.log").write_bytes(b"".join(line + b"\n" for line in lines))
    traffic = counted(str(tmp_path / "audit.log"))
    bodies = [msgspec.json.decode(line, type=_Bodies) for line in lines]
    request = sum(len(one.requestObject) + 17 for one in bodies if one.requestObject)
    response = sum(len(one.responseObject) + 18 for one in bodies if one.responseObject)
    assert 0 <= request - sum(shape.request_body for shape in traffic.shapes) < 20
    assert 0 <= response - sum(shape.response_body for shape in traffic.shapes) < 20


def test_managed_fields_weigh_what_leaving_them_out_saves(tmp_path):
    """Objects, lists and Tables; a patch keeps its own."""
    managed = '{"manager":"kubectl"}'
    body = '{"kind":"Pod","metadata":{"managedFields":[' + managed + '],"name":"a"}}'
    both = '{"kind":"PodList","items":[' + body + "," + body + "]}"
    head = '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"%d","stage":'
    head += '"ResponseComplete","requestURI":"/api/v1/namespaces/a/pods","verb":"%s","user":{"username":"u"},'
    head += '"objectRef":{"resource":"pods","apiVersion":"v1"},"responseStatus":{"code":200},'
    tail = '"requestReceivedTimestamp":"2026-11-23T03:05:09.324546Z","stageTimestamp":"2026-11-23T03:05:09.324546Z"}\n'
    lines = [
        head % (1, "create") + f'"requestObject":{body},"responseObject":{body},' + tail,
        head % (2, "patch") + f'"requestObject":{body},"responseObject":{body},' + tail,
        head % (3, "list") + f'"responseObject":{both},' + tail,
    ]
    (tmp_path / "audit.log").write_text("".join(lines))
    policy = load("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitManagedFields: true\nrules: [{level: Metadata}]\n")
    traffic = counted(str(tmp_path / "audit.log"), policy)
    saved = len(f'"managedFields":[{managed}],')
    found = {shape.request.verb: (shape.request_managed, shape.response_managed) for shape in traffic.shapes}
    assert found == {"create": (saved, saved), "patch": (0, saved), "list": (0, 2 * saved)}


def test_damage_is_counted_and_left_out(tmp_path):
    """Lines that are no events change no shape; pretty-printed events weigh what their line would."""
    line = lines_of("metadata")[0]
    pretty = msgspec.json.format(line, indent=2)
    (tmp_path / "audit.log").write_bytes(line + b"\nnot json\n[1]\n" + pretty + b"\n")
    interest = interest_of(())
    with open_events([str(tmp_path / "audit.log")]) as log:
        answer = log.query(shape_sql(interest), stages="all", weights=weights_of(interest))
        traffic = traffic_of(list(answer), interest)
    assert answer.account.damaged == 2
    assert [(shape.events, shape.size) for shape in traffic.shapes] == [(2, 2 * (len(line) + 1))]


@pytest.mark.parametrize("name", ["full", "security", "metadata"])
def test_a_store_weighs_nearly_the_same(name, tmp_path):
    """From the columns of a store, half of it indexed: the same shapes and bodies, sizes within 1 % in all."""
    lines = lines_of(name)
    (tmp_path / "audit.log").write_bytes(b"".join(line + b"\n" for line in lines))
    fill(tmp_path / "data", "lab", lines)
    index(tmp_path / "data", "lab", len(lines) // 2)
    interest = interest_of([load((DATA / "policies" / "managed-cloud-like.yaml").read_bytes())])
    exact = counted(str(tmp_path / "audit.log"), load((DATA / "policies" / "managed-cloud-like.yaml").read_bytes()))
    with open_store(str(tmp_path / "data")) as log:
        answer = log.query(shape_sql(interest, is_store=True), stages="all", weights=weights_of(interest))
        stored = traffic_of(list(answer), interest)

        statement = shape_sql(interest, is_store=True, is_made=True)
        again = log.query(statement, stages="all", weights=weights_of(interest), made=made_of(interest))
        assert traffic_of(list(again), interest) == stored

    def known(traffic: Traffic) -> Counter[object]:
        found: Counter[object] = Counter()
        for shape in traffic.shapes:
            key = (shape.request, shape.level, shape.stage, shape.is_failed)
            found[key] += shape.events
        return found

    assert known(stored) == known(exact)
    assert stored.size == pytest.approx(exact.size, rel=0.01)
    for body in ("request_body", "response_body"):
        sums = [sum(getattr(shape, body) for shape in one.shapes) for one in (stored, exact)]
        assert sums[0] == pytest.approx(sums[1], rel=0.005)
    for shape in stored.shapes:
        assert shape.plain > 0
