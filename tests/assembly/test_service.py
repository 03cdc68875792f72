"""A server inside of the test's process: what only a fault of ours could bring about."""

import asyncio
import io
import json
from pathlib import Path

from kubewitness.assembly.config import read_config
from kubewitness.assembly.jsonlog import JsonLog
from kubewitness.assembly.service import Service
from tests.assembly.serving import Client, Site, event, event_list


def post(site: Site, port: int, body: bytes, cluster: str = "a") -> tuple[int, dict[str, object]]:
    with Client(port, site.tls(cluster)) as client:
        return client.post(body)


def test_a_store_whose_thread_died_is_opened_again(tmp_path: Path) -> None:
    """503 while it is closed, 200 soon after; the other cluster notices nothing; the operator log has it."""
    site = Site(tmp_path)
    stream = io.StringIO()

    async def main() -> None:
        service = Service(read_config(site.config), JsonLog(stream))
        await service.start()
        port = service.addresses["events"][0][1]
        while any(desk.intake is None for desk in service._desks.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert (await asyncio.to_thread(post, site, port, event_list(event(1))))[0] == 200
        broken = service._desks["a"].intake
        assert broken is not None
        await asyncio.to_thread(broken._group.close)
        assert (await asyncio.to_thread(post, site, port, event_list(event(2))))[0] == 503
        assert (await asyncio.to_thread(post, site, port, event_list(event(3)), "b"))[0] == 200
        async with asyncio.timeout(15):
            while (await asyncio.to_thread(post, site, port, event_list(event(2))))[0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert await service.stop()

    asyncio.run(main())
    assert site.lines() == [event(1), event(2)]
    said = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert said.count("store_failed") == 1
    assert [entry["verb"] for entry in site.operator()][:3] == ["start", "refuse", "alarm"]
