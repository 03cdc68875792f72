"""Exact bytes belong to the row they are asked for, whatever the condition, the stages and the packing."""

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from kubewitness.look.query.run import open_events

DATA = Path(__file__).parents[2] / "data"
EARLY_ONLY = "name IS NULL AND resource = 'configmaps' AND verb = 'create'"
"""True of early stages of requests whose latest stage has a name: the row that is shown is then another one."""
CONDITIONS = (
    "TRUE",
    "resource = 'configmaps'",
    EARLY_ONLY,
    f"({EARLY_ONLY}) OR verb = 'deletecollection'",
    "code >= 400",
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """One log three times: plain, .gz and .zst; the full one has a line of 2 MB and all stages."""
    place = tmp_path_factory.mktemp("packed")
    data = zstandard.ZstdDecompressor().stream_reader((DATA / "audit-full.log.zst").read_bytes()).read()
    (place / "audit.log").write_bytes(data)
    (place / "audit.log.gz").write_bytes(gzip.compress(data, 1))
    (place / "audit.log.zst").write_bytes(zstandard.compress(data, 1))
    return place


@pytest.mark.parametrize("stages", ["latest", "all"])
@pytest.mark.parametrize(
    ("name", "where"),
    [
        *(("audit.log", where) for where in CONDITIONS),
        *(("audit.log.zst", where) for where in CONDITIONS),
        ("audit.log.gz", EARLY_ONLY),  # read in blocks, as .zst is
    ],
)
def test_the_bytes_are_those_of_the_row(packed, name, where, stages):
    """auditID, stage and URI in the bytes are those that the columns say."""
    with open_events([str(packed / name)]) as events:
        answer = events.query(
            "SELECT _row, audit_id, stage, request_uri FROM events ORDER BY received DESC, _row",
            where=where,
            stages=stages,
            keeps_bytes=True,
        )
        rows = list(answer)
        raw = [json.loads(line) for line in answer.exact_bytes([row[0] for row in rows])]
    assert [(e["auditID"], e["stage"], e["requestURI"]) for e in raw] == [row[1:] for row in rows]
    if where == "TRUE":
        assert len(rows) == {"latest": 2343, "all": 4842}[stages]
