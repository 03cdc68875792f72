"""Made-up Events full of edges, and the relation `events` made of Events in the plainest way."""

import functools
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import msgspec
import zstandard
from hypothesis import strategies as st

from kubewitness.event import expr_values as values
from kubewitness.event.derive import DERIVED
from kubewitness.event.expr_values import Context
from kubewitness.event.fields import FIELDS, FieldType
from kubewitness.event.types import Event

DATA = Path(__file__).parent.parent / "data"
DECODE = msgspec.json.Decoder(Event).decode
TYPES = {
    FieldType.STRING: "VARCHAR",
    FieldType.STRINGS: "VARCHAR[]",
    FieldType.INTEGER: "BIGINT",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.TIME: "TIMESTAMP",
    FieldType.MAP: "MAP(VARCHAR, VARCHAR)",
    FieldType.LISTS: "MAP(VARCHAR, VARCHAR[])",
    FieldType.JSON: "JSON",
}
STORED = tuple(field for field in FIELDS if field.path not in DERIVED)
LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
USERS = (
    "alice",
    "",
    "system:anonymous",
    "system:apiserver",
    "system:kube-scheduler",
    "system:serviceaccount:kube-system:job-controller",
    "system:serviceaccount:kube-system:backdoor",
    "system:node:node-1",
    "O'Hara\\*",
    "ünï\u2028\n",
)
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "proxy", "post", "exec", "")
RESOURCES = ("pods", "secrets", "nodes", "serviceaccounts", "rolebindings", "tokenreviews", "configmaps")
SUBRESOURCES = ("exec", "attach", "log", "proxy", "token", "eviction", "scale", "status", "binding", "portforward")
NAMES = ("web", "important", "a'b", "we*b", "x" * 40)
ADDRESSES = (
    "10.0.0.1",
    "10.1.2.3",
    "192.168.255.255",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "2001:db8:0:1:2:3:4:5",
    "2001:DB8::a",
    "::ffff:10.0.0.1",
    "1::2::3",
    "1:2:3:4:5:6:7::",
    "1:2:3:4:5:6:7:8::",
    "010.0.0.1",
    "not an address",
    "",
)
TIMES = ("2026-11-23T03:11:27.501519Z", "2026-11-23T03:11:27.000000Z", "2026-11-23T00:00:00.000001Z")
URLS = (
    "/version",
    "/api",
    "/api/v1/pods?limit=500",
    "/api/v1/namespaces/p/pods/w/exec?command=sh&command=-c&command=id+-u&stdin=true",
    "/x/exec?%63ommand=a%20b&command=%ff&command=%zz&command=&command&a;command=1&=&&command=%C3%BC",
    "/api/v1/nodes/n/proxy/run/p/w/c?cmd=cat%20/etc/shadow",
    "/api/v1/nodes/n/proxy/exec/p/w/c?command=x",
    "/api/v1/pods?dryRun=All",
    "/api/v1/pods?dryRun=None&dryRun=All#x?y",
    "?",
)
ANNOTATIONS = (
    "authorization.k8s.io/decision",
    "authentication.kubernetes.io/issued-credential-id",
    "audit.k8s.io/truncated",
    "it's",
)

text = st.text(st.sampled_from("ab*?\\'\"/ \n\x00é%~"), max_size=4)


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Absent as often as not."""
    return st.none() | strategy


def one_of(options: Iterable[str]) -> st.SearchStrategy[str]:
    """One of the usual values, now and then a strange one."""
    return st.sampled_from(tuple(options)) | text


KEYS = ("metadata", "name", "spec", "dryRun", "a/b", "~", "0", "it's", 'quo"te', "kind")
bodies = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from((1.5, 2.0, "All", "web", "", "true", "1")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)
shaped = st.sampled_from(
    (
        {"metadata": {"name": "web"}},
        {"dryRun": ["All"]},
        {"dryRun": []},
        {"deleteOptions": {"dryRun": ["All"]}},
        [{"op": "add", "path": "/spec", "value": 1}],
    )
)


def struct(**members: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    """A wire object of optional members."""
    return st.fixed_dictionaries({}, optional=members)


users = struct(
    username=one_of(USERS),
    uid=text,
    groups=st.lists(one_of(("system:masters", "dev")), max_size=3),
    extra=st.dictionaries(
        st.sampled_from(("authentication.kubernetes.io/credential-id", "k")), st.lists(text, max_size=2), max_size=2
    ),
)
wire_events = st.fixed_dictionaries(
    {"stage": st.sampled_from(STAGES)},
    optional={
        "level": st.sampled_from(LEVELS),
        "auditID": text,
        "requestURI": one_of(URLS),
        "verb": one_of(VERBS),
        "user": users,
        "impersonatedUser": users,
        "authenticationMetadata": struct(impersonationConstraint=text),
        "sourceIPs": st.lists(one_of(ADDRESSES), max_size=3),
        "userAgent": one_of(("kubectl/v1.36", "curl/8")),
        "objectRef": struct(
            resource=one_of(RESOURCES),
            namespace=one_of(("default", "production")),
            name=one_of(NAMES),
            uid=text,
            apiGroup=one_of(("apps", "rbac.authorization.k8s.io")),
            apiVersion=text,
            resourceVersion=text,
            subresource=one_of(SUBRESOURCES),
        ),
        "responseStatus": struct(
            code=st.sampled_from((101, 200, 201, 400, 401, 403, 404, 409, 500)),
            status=st.sampled_from(("Success", "Failure")),
            reason=text,
            message=one_of(('User "a" cannot impersonate-on:x', "not found")),
            details=bodies,
        ),
        "requestObject": bodies | shaped,
        "responseObject": bodies | shaped,
        "requestReceivedTimestamp": st.sampled_from(TIMES),
        "stageTimestamp": st.sampled_from(TIMES),
        "annotations": st.dictionaries(one_of(ANNOTATIONS), one_of(("true", "allow")), max_size=3),
    },
)
events = wire_events.map(lambda wire: DECODE(msgspec.json.encode(wire)))
contexts = st.builds(
    Context,
    dialect=optional(st.sampled_from(("kube-apiserver", "gke", "legacy", "aks"))),
    redacted=optional(st.lists(st.sampled_from(("requestObject", "annotations", "user")), max_size=2).map(tuple)),
    source=optional(text),
    cluster=optional(text),
)


@functools.cache
def recorded(name: str) -> tuple[Event, ...]:
    """Give the Events of a recorded log."""
    with (DATA / f"audit-{name}.log.zst").open("rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().split(b"\n")
    return tuple(DECODE(line) for line in lines if line)


def relation(
    connection: duckdb.DuckDBPyConnection, events_: Sequence[Event], contexts_: Sequence[Context] | None = None
) -> None:
    """Make the table `events` of these Events, with the flat columns not derived, and `row` for order."""
    columns = {"row": "BIGINT"} | {field.column: TYPES[field.type] for field in STORED}
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
        for row, event in enumerate(events_):
            context = contexts_[row] if contexts_ else Context()
            flat: dict[str, object] = {"row": row}
            for field in STORED:
                held: object = values.read(event, context, field.path)
                if field.type is FieldType.JSON and held is not None:
                    held = json.loads(str(held))
                if field.type is FieldType.TIME and held is not None:
                    held = (
                        f"{event.stage_timestamp if field.column == 'stage_time' else event.request_received_timestamp}"
                    )
                flat[field.column] = held
            file.write(json.dumps(flat, ensure_ascii=False) + "\n")
        file.flush()
        spec = ", ".join(f"'{column}': '{type_}'" for column, type_ in columns.items())
        connection.execute(
            f"CREATE OR REPLACE TABLE events AS FROM read_json('{file.name}', format='newline_delimited', "
            f"columns={{{spec}}}, maximum_object_size=100000000) ORDER BY row"
        )
