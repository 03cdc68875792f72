"""Questions of a store while a real server writes it."""

import json
import time
from contextlib import closing
from pathlib import Path

from kubewitness.look.query.store import open_store
from tests.assembly.serving import Site, event, event_list, recorded, serving


def test_what_is_acknowledged_is_found_within_a_second(tmp_path: Path) -> None:
    """Each Event by its auditID, asked as soon as the server has said 200; nothing is found twice, nothing missed."""
    site = Site(tmp_path)
    with serving(site) as server, server.client() as client:
        for number, body in enumerate(recorded()[:30]):
            assert client.post(body)[0] == 200
            assert client.post(event_list(event(number, f"probe-{number}")))[0] == 200
            if number % 5 == 0:
                began = time.monotonic()
                with open_store(str(site.data), "a") as events:
                    question = events.query("SELECT count(*) FROM events", where=f"audit_id = 'probe-{number}'")
                    with closing(question) as answer:
                        assert list(answer) == [(1,)]
                assert time.monotonic() - began < 10, "a second, on a machine that is not shared"
        stored = len(site.stored("a"))
        sql = "SELECT count(*), count(DISTINCT log_index) FROM events"
        with open_store(str(site.data), "a") as events, closing(events.query(sql, stages="all")) as answer:
            assert list(answer) == [(stored, stored)]
    manifest = next(site.data.rglob("index/manifest.json"), None)
    if manifest is not None:
        assert json.loads(manifest.read_text())["end"] <= stored
