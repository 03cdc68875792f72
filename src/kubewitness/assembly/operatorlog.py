"""
The operator log: what is done to the server itself, kept and sealed like the Events of a cluster.

Starts, stops, changes of configuration and keys, and times when nothing could be stored are Events in a log named
`_operator`, so that every tool that reads Events reads these. docs/reference/formats.md, "Operator log".
"""

import datetime as dt
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from kubewitness import __version__
from kubewitness.keep.store.errors import UnavailableError
from kubewitness.keep.store.group import GroupCommit
from kubewitness.keep.store.log import Batch, ClusterLog, Receipt

SOURCE = "operator:serve"
PREFIX = "kubewitness.io/"


def entry(verb: str, facts: Mapping[str, str], now_ns: int, audit_id: str, code: int = 200) -> bytes:
    """Write an entry as an Event, in the order of members that kube-apiserver has."""
    moment = dt.datetime.fromtimestamp(now_ns / 1e9, dt.UTC)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "requestURI": f"/kubewitness/{verb}",
        "verb": verb,
        "user": {"username": "kubewitness"},
        "userAgent": f"kubewitness/{__version__}",
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": stamp,
        "stageTimestamp": stamp,
        "annotations": {PREFIX + name: value for name, value in facts.items()},
    }
    return json.dumps(event, separators=(",", ":")).encode()


class OperatorLog:
    """The open operator log."""

    def __init__(self, log: ClusterLog, on_durable: Callable[[int], None] = lambda _: None) -> None:
        """Begin to take entries."""
        self._log = log
        self._on_durable = on_durable
        self._group = GroupCommit(self._commit)

    @property
    def end(self) -> int:
        """The index after the last entry that lasts."""
        return self._log.end

    def write(self, verb: str, *, code: int = 200, **facts: str) -> "Future[Receipt]":
        """Hand in an entry; from any thread. The receipt comes when it lasts."""
        now_ns = time.time_ns()
        raw = entry(verb, facts, now_ns, str(uuid.uuid4()), code)
        try:
            return self._group.submit(Batch(now_ns, SOURCE, [self._log.arrive(raw)]))
        except UnavailableError as exc:
            failed: Future[Receipt] = Future()
            failed.set_exception(exc)
            return failed

    def _commit(self, batches: Sequence[Batch]) -> list[Receipt]:
        receipts = self._log.commit(batches)
        self._on_durable(self._log.end)
        return receipts

    def close(self) -> None:
        """Store what was handed in, then let go of the log."""
        self._group.close()
        self._log.close()
