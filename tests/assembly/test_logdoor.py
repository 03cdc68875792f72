"""A log file as a second door of a server: both doors bring the same Events, and each is stored once."""

import os
from collections import Counter
from pathlib import Path

import zstandard

from kubewitness.event.identity import canonical_bytes
from kubewitness.keep.store.layout import DataDir
from kubewitness.keep.store.reader import Lost, read_blocks
from tests.assembly.serving import DATA, Site, event, event_list, recorded, serving


def with_log(place: Path, **limits: object) -> tuple[Site, Path]:
    """A site whose cluster a also reads a log file."""
    site = Site(place / "site", **limits)
    log = place / "logs" / "audit.log"
    log.parent.mkdir()
    text = site.config.read_text()
    site.config.write_text(text.replace("{name: a,", f"{{name: a, logs: [{log}],"))
    return site, log


def line(number: int) -> bytes:
    return b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",' + event(number)[1:] + b"\n"


def test_both_doors_bring_each_event_once(tmp_path: Path) -> None:
    """4,842 Events of the file, 4,815 of them also posted: 4,842 are stored, and both sources are noted."""
    site, log = with_log(tmp_path)
    whole = zstandard.ZstdDecompressor().stream_reader((DATA / "audit-full.log.zst").read_bytes()).read()
    with serving(site) as server:
        half = whole.index(b"\n", len(whole) // 2) + 1
        log.write_bytes(whole[:half])
        with server.client() as client:
            for body in recorded():
                assert client.post(body)[0] == 200
        with log.open("ab") as file:
            file.write(whole[half:])
        stored = 'kubewitness_receiver_events_stored_total{cluster="a"}'
        server.until(lambda: server.metric(stored) == 4842)
        server.until(lambda: server.metric('kubewitness_receiver_events_received_total{cluster="a"}') == 4842 + 4815)
    assert Counter(map(canonical_bytes, site.lines())) == Counter(map(canonical_bytes, whole.splitlines()))
    seen: Counter[str] = Counter()
    with DataDir(site.data).look("a") as root, root.look("segments") as segments:
        for part in read_blocks(segments):
            assert not isinstance(part, Lost)
            for commit in part.commits:
                seen[commit.source.partition(":")[0]] += len(commit.events) + len(commit.seen)
    assert seen["tail"] <= 4842
    assert seen["webhook"] <= 4815
    assert sum(seen.values()) > 4842


def test_rotation_restart_and_odd_lines(tmp_path: Path) -> None:
    """The file is rotated while it is read, goes on being read after a restart, and what is no Event is quarantined."""
    site, log = with_log(tmp_path)
    log.write_bytes(line(1) + b"no event\n" + line(2))
    events = 'kubewitness_store_events{cluster="a"}'
    with serving(site) as server:
        server.until(lambda: server.metric(events) == 2)
        log.rename(log.with_name("audit-2026-11-23T03-05-00.000.log"))
        log.write_bytes(line(3))
        server.until(lambda: server.metric(events) == 3)
        server.until(lambda: server.metric('kubewitness_receiver_items_quarantined_total{cluster="a"}') == 1)
    with log.open("ab") as file:
        file.write(line(4))
    with serving(site) as server:
        server.until(lambda: server.metric(events) == 4)
        with server.client() as client:
            assert client.post(event_list(event(4), event(5)))[1]["stored"] == 1
    assert [canonical_bytes(raw) for raw in site.lines()] == [event(number) for number in range(1, 6)]


def test_a_store_that_cannot_take_it_costs_nothing(tmp_path: Path) -> None:
    """While the disk is too full the file waits; with room again it is read from where it was."""
    site, log = with_log(tmp_path)
    text = site.config.read_text()
    found = os.statvfs(tmp_path)
    site.config.write_text(text.replace("reserveBytes: 1", f"reserveBytes: {found.f_blocks * found.f_frsize}"))
    log.write_bytes(line(1))
    with serving(site) as server:
        server.wait_for("log_file")
        assert server.metric('kubewitness_store_events{cluster="a"}') == 0
    site.config.write_text(text)
    with serving(site) as server:
        server.until(lambda: server.metric('kubewitness_store_events{cluster="a"}') == 1)
    assert [canonical_bytes(raw) for raw in site.lines()] == [event(1)]
