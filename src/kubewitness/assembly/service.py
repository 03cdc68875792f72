"""
The server: desks of all clusters, receiver, sealer, operator log, health and metrics, started, watched and stopped.

What happens in threads is told to the event loop; what may hang (disks) happens in threads. One cluster's trouble is
shown and said, and keeps nobody else from being served.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubewitness.assembly import tileserver
from kubewitness.assembly.admission import AdmissionWatch
from kubewitness.assembly.collector import Collector
from kubewitness.assembly.config import Config
from kubewitness.assembly.desk import Desk, DiskGuard, open_log
from kubewitness.assembly.jsonlog import JsonLog
from kubewitness.assembly.logdoor import LogDoor
from kubewitness.assembly.notify import notify
from kubewitness.assembly.operatorlog import OperatorLog
from kubewitness.assembly.plainhttp import Answer, PlainHttp
from kubewitness.assembly.sealer import Order, Report
from kubewitness.assembly.sealing import Sealing
from kubewitness.assembly.servemetrics import ServeMetrics
from kubewitness.keep.receiver.clients import Caller, Refusal
from kubewitness.keep.receiver.intake import Intake, Outcome
from kubewitness.keep.receiver.server import Receiver
from kubewitness.keep.seal.errors import NoteError
from kubewitness.keep.store.errors import DamagedError, StoreError, UnavailableError
from kubewitness.keep.store.layout import OPERATOR, DataDir, KeyDir
from kubewitness.keep.store.sinks import fields_of
from kubewitness.keep.store.tree import head_sizes

if TYPE_CHECKING:
    from concurrent.futures import Future

    from kubewitness.keep.store.log import Receipt

WATCH_SECONDS = 1.0
STUCK_SECONDS = 10.0
WARN_AT, ALARM_AT = 0.80, 0.90
CLOSE_SECONDS = 30.0


class Service:
    """A running server."""

    def __init__(self, config: Config, log: JsonLog) -> None:
        """Be ready to start. Raises ConfigError for certificates or tokens that cannot be used."""
        self.config = config
        self.log = log
        self.metrics = ServeMetrics()
        self.addresses: dict[str, list[tuple[str, int]]] = {}
        """Where it listens, by `events`, `operate`, `tiles`."""
        self._data, self._keys = DataDir(config.data), KeyDir(config.keys)
        self._guard = DiskGuard(self._data, config.limits.reserve_bytes)
        self._desks: dict[str, Desk] = {}
        self._refusing: dict[str, tuple[float, int]] = {}
        self._sealed: dict[str, int] = {}
        self._stuck: set[str] = set()
        self._disk_level = 0
        self._is_stopping = False
        self._operator: OperatorLog | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watch = AdmissionWatch(config, self)
        self._receiver = Receiver(
            self._watch.admission,
            self._intake,
            config.limits,
            self.metrics,
            on_refused=self._refused,
            on_answered=self._answered,
        )
        self._sealing = Sealing(
            Order(
                str(config.data.absolute()),
                str(config.keys.absolute()),
                [*(cluster.name for cluster in config.clusters), OPERATOR],
                config.seal_seconds,
                config.checkpoints,
                config.is_indexed,
            ),
            self._reported,
            self._sealer_died,
        )
        self._plain: list[PlainHttp] = []
        self._doors: list[LogDoor] = []
        self._tasks: list[asyncio.Task[None]] = []

    # life

    async def start(self) -> None:
        """Open everything and listen. Raises StoreError, OSError."""
        self._loop = asyncio.get_running_loop()
        self._operator = await self._try_operator()
        # keys that are not there are made here: the sealer must not make them at the same time
        key_names = await asyncio.to_thread(self._key_names)
        self._sealing.start()
        if self._operator is not None:
            self._tell(OPERATOR, self._operator.end)
        for cluster in self.config.clusters:
            self._desks[cluster.name] = self._new_desk(cluster.name)
        self.addresses["events"] = self._receiver.listen(self.config.events)
        for kind, address, handler in (
            ("operate", self.config.operate, self._operate),
            ("tiles", self.config.tiles, self._tiles),
        ):
            if address is not None:
                server = PlainHttp(handler)
                self._plain.append(server)
                self.addresses[kind] = [await server.listen(*address)]
        self._doors = [self._new_door(cluster.name, path) for cluster in self.config.clusters for path in cluster.logs]
        self._tasks = [self._loop.create_task(self._look_after()), self._loop.create_task(self._watch.run())]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.metrics.start_time.set(time.time())
        self.record("start", clusters=" ".join(self._desks), keys=key_names)
        self.log.info("started", addresses=self.addresses, clusters=list(self._desks), pid=os.getpid())
        notify("READY=1\nSTATUS=receiving")

    def _new_desk(self, cluster: str) -> Desk:
        self.metrics.store_open.labels(cluster).set(0)
        return Desk(
            cluster,
            self._data,
            self._keys,
            self.config.limits,
            self._guard,
            on_open=self._opened,
            on_trouble=self._troubled,
            on_durable=self._durable,
            on_reused=self._reused,
        )

    def _new_door(self, cluster: str, path: Path) -> LogDoor:
        caller = Caller(cluster, path.name)

        def alert(text: str) -> None:
            self.log.warning("log_file", cluster=cluster, text=text)
            self._call(lambda: self.record("alarm", cluster=cluster, reason=text[:500]))

        def taken(outcome: Outcome, source: str) -> None:
            self._call(self._receiver.answered, caller, 0, 0.0, outcome, source)

        return LogDoor(path, lambda: self._desks[cluster], self._data, self._keys, alert=alert, taken=taken)

    async def _reopen(self, cluster: str) -> None:
        """Open a store again whose thread a fault of ours has ended."""
        self.log.error("store_failed", cluster=cluster)
        self.record("alarm", code=500, cluster=cluster, reason="a fault of ours closed the store; it is opened again")
        await asyncio.to_thread(self._desks[cluster].close)
        self._desks[cluster] = self._new_desk(cluster)

    async def stop(self) -> bool:
        """Answer what was asked, finish segments and heads, close all; False when a disk kept us from it."""
        self._is_stopping = True
        notify("STOPPING=1")
        self.log.info("stopping")
        for task in self._tasks:
            task.cancel()
        await self._receiver.stop(self.config.grace_seconds)
        for door in self._doors:
            door.stop()
        ended = await _within(CLOSE_SECONDS, [asyncio.to_thread(door.join) for door in self._doors])
        closing = [asyncio.to_thread(desk.close) for desk in self._desks.values()]
        ended = await _within(CLOSE_SECONDS, closing) and ended
        for name, desk in self._desks.items():
            if desk.log is not None:
                self._tell(name, desk.log.end)
        if self._operator is not None:
            self.record("stop", clean=str(ended).lower())
            ended = await _within(CLOSE_SECONDS, [asyncio.to_thread(self._operator.close)]) and ended
            self._tell(OPERATOR, self._operator.end)
        await asyncio.sleep(0)  # what threads said last is passed on first
        await self._sealing.stop()
        self._say_what_is_unsealed()
        for server in self._plain:
            await server.stop()
        self.log.info("stopped", clean=ended)
        return ended

    def _say_what_is_unsealed(self) -> None:
        """Say where the last head does not cover all; the next start makes one that does."""
        ends = {name: desk.log.end for name, desk in self._desks.items() if desk.log is not None}
        for name, end in ends.items():
            if self._sealed.get(name, 0) < end:
                self.log.warning("unsealed", cluster=name, events=end - self._sealed.get(name, 0))

    def reload(self) -> None:
        """Read certificates, keys and tokens again, as on SIGHUP."""
        self._watch.reload()

    def admit(self) -> None:
        """Let in by what the watch has read."""
        self._receiver.admit_by(self._watch.admission)

    def record(self, verb: str, *, code: int = 200, **facts: str) -> None:
        """Make an entry in the operator log."""
        if self._operator is not None:
            self._operator.write(verb, code=code, **facts).add_done_callback(self._recorded)

    def _recorded(self, receipt: "Future[Receipt]") -> None:
        error = receipt.exception()
        if error is not None:
            self.log.error("operator_log_failed", error=str(error))

    async def _try_operator(self) -> OperatorLog | None:
        """Open the operator log; without it clusters are served all the same. Raises LockedError, OSError."""
        self.metrics.store_open.labels(OPERATOR).set(0)
        try:
            operator = await asyncio.to_thread(self._open_operator)
        except (DamagedError, UnavailableError) as exc:
            is_damaged = isinstance(exc, DamagedError)
            self.log.error("store_closed", cluster=OPERATOR, error=str(exc), damaged=is_damaged)  # noqa: TRY400
            return None
        self.metrics.store_open.labels(OPERATOR).set(1)
        return operator

    def _open_operator(self) -> OperatorLog:
        root, _ = self._data.enter(OPERATOR)
        try:
            return OperatorLog(open_log(root, self._keys), lambda end: self._durable(OPERATOR, end))
        finally:
            root.close()

    def _key_names(self) -> str:
        """Name the public keys of all logs, so that a change of keys is a change of this."""
        names = []
        for cluster in [*(cluster.name for cluster in self.config.clusters), OPERATOR]:
            with contextlib.suppress(OSError, StoreError, NoteError):
                root, meta = self._data.enter(cluster)
                with root:
                    signers = self._keys.signers(meta, is_signed=bool(head_sizes(root)))
                names += [f"{signer.name}+{signer.key_id.hex()}" for signer in signers]
        return " ".join(names)

    # what desks tell, in their threads

    def _call(self, function: Callable[..., None], *args: object) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(function, *args)

    def _opened(self, desk: Desk) -> None:
        if desk.log is None:
            return
        notes = list(desk.log.recovered.notes)
        self.log.info("store_open", cluster=desk.cluster, events=desk.log.end, recovered=notes)
        for lost in desk.log.lost:
            self.log.error("store_damaged", cluster=desk.cluster, segment=lost.segment, first=lost.first, end=lost.end)
        self.metrics.store_open.labels(desk.cluster).set(1)
        self._durable(desk.cluster, desk.log.end)

    def _troubled(self, desk: Desk, why: str) -> None:
        self.log.error("store_closed", cluster=desk.cluster, error=why, damaged=desk.is_damaged)
        self._call(lambda: self.record("alarm", code=503, cluster=desk.cluster, reason=why[:500]))

    def _durable(self, cluster: str, end: int) -> None:
        self._call(self._tell, cluster, end)

    def _reused(self, cluster: str, index: int) -> None:
        self.metrics.reused.labels(cluster).inc()
        self.log.warning("audit_id_reused", cluster=cluster, index=index)

    # in the event loop

    def _tell(self, cluster: str, end: int) -> None:
        self._sealing.tell(cluster, end)
        self.metrics.store_end.labels(cluster).set(end)
        self.metrics.unsealed.labels(cluster).set(end - self._sealed.get(cluster, 0))

    def _intake(self, cluster: str) -> Intake | None:
        desk = self._desks.get(cluster)
        return None if desk is None else desk.intake

    def _refused(self, refusal: Refusal, address: str) -> None:
        if refusal.is_alarm:
            self.log.warning("refused", reason=refusal.reason, text=refusal.text, address=address)

    def _answered(self, cluster: str, status: int) -> None:
        """Note in the operator log from when until when a cluster was not served, and how often it was told so."""
        since, count = self._refusing.get(cluster, (time.time(), 0))
        if status == 503:
            if not count:
                self.record("refuse", code=503, cluster=cluster, reason="it cannot be stored now")
            self._refusing[cluster] = (since, count + 1)
        elif status == 200 and count:
            del self._refusing[cluster]
            seconds = f"{time.time() - since:.1f}"
            self.log.info("stores_again", cluster=cluster, refused=count, seconds=seconds)
            self.record("resume", cluster=cluster, refused=str(count), seconds=seconds)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Say when a task that should run for ever does not."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.log.error("unexpected", what="a task ended", error=f"{type(error).__name__}: {error}")

    def _sealer_died(self, code: int) -> None:
        self.metrics.sealer_restarts.inc()
        self.log.error("sealer_died", code=code)

    def _reported(self, report: Report) -> None:
        cluster = report.cluster
        if report.sink:
            self.metrics.sink_failing.labels(cluster, report.sink).set(int(bool(report.error)))
            say = self.log.error if report.error else self.log.info
            say("checkpoint_sink", cluster=cluster, sink=report.sink, error=report.error)
            return
        if report.head:
            self._head_signed(report.head.encode())
        if report.error:
            failing = self.metrics.index_failing if report.is_index else self.metrics.seal_failing
            failing.labels(cluster).set(1)
            what = "index_failed" if report.is_index else "seal_failed"
            self.log.error(what, cluster=cluster, error=report.error, damaged=report.is_damage)
        if report.indexed >= 0:
            self.metrics.index_failing.labels(cluster).set(0)
            self.metrics.indexed.labels(cluster).set(report.indexed)
        if report.sealed >= 0:
            self._sealed_to(cluster, report.sealed)

    def _sealed_to(self, cluster: str, size: int) -> None:
        self.metrics.seal_failing.labels(cluster).set(0)
        if size > self._sealed.get(cluster, -1):
            self._sealed[cluster] = size
            self.metrics.head_time.labels(cluster).set(time.time())
        self.metrics.sealed.labels(cluster).set(size)
        desk = self._desks.get(cluster)
        log = desk.log if desk is not None else None
        end = log.end if log is not None else self._operator.end if self._operator is not None else size
        self.metrics.unsealed.labels(cluster).set(max(end - size, 0))

    def _head_signed(self, note: bytes) -> None:
        """Show a new head in the metrics, and on standard output if that was asked for."""
        told = fields_of(note)
        self.metrics.checkpoints.show(told["origin"], told["size"], told["root"])
        if any("stdout" in sink for sink in self.config.checkpoints):
            sys.stdout.write(json.dumps({"event": "checkpoint", **told}) + "\n")
            sys.stdout.flush()

    async def _look_after(self) -> None:
        """See now and then whether disks answer and have room."""
        collector = Collector()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            collector.step()
            self._sealing.remind()
            await asyncio.to_thread(self._guard.is_full)
            self._look_at_disk()
            for name, desk in list(self._desks.items()):
                if desk.intake is not None and not desk.intake.is_alive:
                    await self._reopen(name)
                self._look_at(name, self._desks[name])

    def _look_at(self, name: str, desk: Desk) -> None:
        intake = desk.intake
        if intake is None:
            return
        stuck = intake.stuck_seconds
        self.metrics.stuck.labels(name).set(stuck)
        self.metrics.waiting_bytes.labels(name).set(intake.waiting_bytes)
        if desk.quarantine is not None:
            self.metrics.quarantine_bytes.labels(name).set(desk.quarantine.bytes)
        if stuck > STUCK_SECONDS and name not in self._stuck:
            self._stuck.add(name)
            self.log.error("disk_stuck", cluster=name, seconds=round(stuck, 1))
            self.record("alarm", code=503, cluster=name, reason="the disk does not answer")
        elif stuck <= STUCK_SECONDS and name in self._stuck:
            self._stuck.discard(name)
            self.log.info("disk_answers", cluster=name)
            self.record("calm", cluster=name, reason="the disk answers again")

    def _look_at_disk(self) -> None:
        guard = self._guard
        if guard.total <= 0:
            return
        self.metrics.disk_free.set(guard.free)
        self.metrics.disk_size.set(guard.total)
        self.metrics.disk_free_files.set(guard.free_files)
        used = guard.used
        level = 3 if guard.is_low else 2 if used >= ALARM_AT else 1 if used >= WARN_AT else 0
        if level == self._disk_level:
            return
        before, self._disk_level = self._disk_level, level
        say = (self.log.info, self.log.warning, self.log.error, self.log.error)[level]
        room = {"free_bytes": guard.free, "free_files": guard.free_files, "used_percent": round(used * 100)}
        say("disk_room", **room, refusing=level == 3)
        if level == 3:
            self.record("alarm", code=503, reason="the disk is nearly full")
        elif before == 3:
            self.record("calm", reason="the disk has room again")

    # health, metrics, tiles

    async def _operate(self, target: str) -> Answer:
        path = target.partition("?")[0]
        if path == "/livez":
            return Answer(200, b"ok\n")
        if path == "/readyz":
            return self._readiness()
        if path == "/metrics":
            return Answer(200, self.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        return Answer(404, b"known are /livez, /readyz and /metrics\n")

    def _readiness(self) -> Answer:
        """Ready while something can be stored: one cluster's trouble must not take the others from a balancer."""
        checks = {"running": not self._is_stopping, "disk has room": not self._guard.is_low}
        stores = {f"store {name}": desk.intake is not None for name, desk in self._desks.items()}
        stores |= {f"store {name}": False for name in self._stuck}
        lines = [
            f"[{'+' if good else '-'}]{what} {'ok' if good else 'failed'}" for what, good in (checks | stores).items()
        ]
        is_ready = all(checks.values()) and any(stores.values())
        lines.append("ready" if is_ready else "not ready")
        return Answer(
            200 if is_ready else 503, "".join(f"{line}\n" for line in lines).encode("ascii", "backslashreplace")
        )

    async def _tiles(self, target: str) -> Answer:
        names = {name: name for name in [*self._desks, OPERATOR]}
        return await asyncio.to_thread(tileserver.answer, self._data, names, target)


async def _within(seconds: float, work: Sequence[Coroutine[Any, Any, None]]) -> bool:
    """Wait for all of this, not longer than so many seconds; whether all ended well."""
    tasks = [asyncio.ensure_future(one) for one in work]
    if not tasks:
        return True
    done, left = await asyncio.wait(tasks, timeout=seconds)
    return not left and all(task.exception() is None for task in done)
