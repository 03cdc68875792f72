"""
The seam between the commands and the engine: what a command asks, and what comes back.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kubewitness.cli.errors import UserError
from kubewitness.cli.filters import given
from kubewitness.cli.sources import SourceReport, sources_of
from kubewitness.event.fields import FIELDS


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read to answer."""

    reports: Sequence[SourceReport] = ()
    events: int = 0
    requests: int | None = None
    first: datetime | None = None
    last: datetime | None = None
    unknown: int = 0
    unknown_why: str = ""
    is_account_complete: bool = True


class Log:
    """The events that the arguments mean."""

    def __init__(self, args: argparse.Namespace) -> None:
        import duckdb

        self._con = duckdb.connect()
        self._args = args
        self._sources = sources_of(args)
        paths = ["/dev/stdin" if s == "-" else s for s in self._sources]
        listed = ",".join(f"'{p}'" for p in paths)
        cols = "{level:'VARCHAR',auditID:'VARCHAR',stage:'VARCHAR',requestURI:'VARCHAR',verb:'VARCHAR',\"user\":'STRUCT(username VARCHAR,uid VARCHAR,\"groups\" VARCHAR[])',impersonatedUser:'STRUCT(username VARCHAR)',sourceIPs:'VARCHAR[]',userAgent:'VARCHAR',objectRef:'STRUCT(resource VARCHAR,namespace VARCHAR,name VARCHAR,apiGroup VARCHAR,apiVersion VARCHAR,subresource VARCHAR)',responseStatus:'STRUCT(code INT,reason VARCHAR,status VARCHAR,message VARCHAR)',requestReceivedTimestamp:'TIMESTAMP',stageTimestamp:'TIMESTAMP'}"
        self._con.execute(f"""create temp table base as select *, row_number() over (partition by audit_id order by stage_time desc, stage='ResponseComplete' desc) rn from (
select 'Event' kind, level, auditID audit_id, stage, requestURI request_uri, verb, "user".username username, "user".uid user_uid, "user"."groups" "groups", impersonatedUser.username impersonated_username,
sourceIPs source_ips, userAgent user_agent, objectRef.resource resource, objectRef.namespace namespace, objectRef.name "name", objectRef.apiGroup api_group, objectRef.subresource subresource,
responseStatus.code code, responseStatus.reason reason, responseStatus.message message, requestReceivedTimestamp received, stageTimestamp stage_time,
case when objectRef.subresource in ('exec','attach','portforward','proxy','log') then objectRef.subresource when verb in ('create','update','patch') and objectRef.resource like '%rolebindings' then 'bind' else verb end action,
case when responseStatus.code in (401,403) then 'denied' when responseStatus.code>=400 then 'failed' when responseStatus.code<400 then 'allowed' end outcome,
case when objectRef.subresource='exec' then list_transform(regexp_extract_all(requestURI,'command=([^&]*)',1), lambda x: url_decode(x)) end exec_command, sourceIPs[-1] source_peer, 'audit.log' source, 'human' actor_kind, 900 bytes
from read_ndjson([{listed}], columns={cols}, ignore_errors=true, maximum_object_size=104857600))""")
        where = ["1=1"]
        for name, values in given(args).items():
            col = {
                "user": "username",
                "namespace": "namespace",
                "ip": "source_peer",
                "audit-id": "audit_id",
                "user-agent": "user_agent",
            }.get(name, name.replace("-", "_"))
            where.append("(" + " or ".join(f"{col}::varchar glob '{v}'" for v in values) + ")")
        if args.where:
            where.append(f"({args.where})")
        rn = "1=1" if args.stages == "all" else "rn=1"
        self._con.execute(
            f"create temp view events as select * exclude rn from base where {rn} and {' and '.join(where)}"
        )

    def __enter__(self):
        return self

    def __exit__(self, *a):
        pass

    def query(self, sql: str):
        cursor = self._con.execute(sql)
        names = [d[0] for d in cursor.description]
        return names, iter(cursor.fetchall())

    def raw(self, limit):
        ids = {r[0] for r in self._con.execute("select audit_id from events").fetchall()}
        for s in self._sources:
            for line in open(s, "rb"):
                yield line.rstrip(b"\n")

    def fraction(self):
        return None

    def facts(self):
        e, q, a, b = self._con.execute(
            "select count(*), count(distinct audit_id), min(received), max(received) from base"
        ).fetchone()
        return Facts([SourceReport(s) for s in self._sources], e, q, a, b)
