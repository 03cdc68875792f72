"""
Send requests that carry a mark to an API server, and know the Events that they leave when they pass by.

A mark is a name that nobody else uses; it stands in the request's URL, which every level above None records, and over
HTTP the request has an Audit-ID of ours too. `probes` makes the requests, a Sender sends them, a Watch takes lines of a
log or Events of a store and says what was seen, at which stage and level, and how late. Nothing is created: what is
read does not exist, and what is written is a dry run.
"""

import errno
import http.client
import json
import os
import ssl
import stat
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kubewitness.emit.backends.credentials import CredentialError, Credentials, load_certificate
from kubewitness.emit.backends.kubeconfig import Target
from kubewitness.event import microtime
from kubewitness.event.decode import decode
from kubewitness.event.types import Event, Level, Stage
from kubewitness.policy.evaluate import evaluate
from kubewitness.policy.request import attributes_from_event, request_info
from kubewitness.policy.types import Policy

KINDS = ("get", "create")
_ANSWER_S = 30.0
_READ_BYTES = 1 << 20
_FINAL = frozenset((Stage.RESPONSE_COMPLETE, Stage.PANIC))
# ResponseStarted is the last stage of a request that was refused before it was known who asks.
_UNAUTHORIZED = 401
# what clocks that are kept by NTP may differ by
_SAME_CLOCK_US = 1_000_000
Places = tuple[str, ...]
"""Where an Event may be: the logs of several API servers, of which one answers a request."""


class SendError(Exception):
    """A request could not be sent, or got no answer: the server cannot be reached as asked."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request: its mark, and its Audit-ID where one can be sent."""

    kind: str
    mark: str
    audit_id: str
    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was answered: when it left, what the server said, and under which Audit-ID it keeps it."""

    probe: Probe
    sent_us: int
    status: int | None
    audit_id: str


class Sender(Protocol):
    """Sends a request and gives the answer's status and Audit-ID."""

    def send(self, probe: Probe) -> tuple[int | None, str]:
        """Send it. Raises SendError."""
        ...


def probes(kinds: Iterable[str], namespace: str, new_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> list[Probe]:
    """Make the requests of these kinds, each with a mark of its own."""
    made = []
    for kind in kinds:
        mark = f"kubewitness-canary-{new_id()}"
        where = f"/api/v1/namespaces/{namespace}/configmaps"
        if kind == "get":
            made.append(Probe(kind, mark, new_id(), "GET", f"{where}/{mark}"))
        else:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": mark}}
            path = f"{where}?dryRun=All&fieldManager={mark}"
            made.append(Probe(kind, mark, new_id(), "POST", path, json.dumps(body).encode()))
    return made


@dataclass(frozen=True, slots=True)
class HttpSender:
    """Sends over HTTP with the credentials of a kubeconfig or a token."""

    target: Target

    def send(self, probe: Probe) -> tuple[int | None, str]:
        """Send it on a connection of its own. Raises SendError."""
        credentials = Credentials(self.target)
        headers = {"Audit-ID": probe.audit_id, "Accept": "application/json", "User-Agent": "kubewitness-canary"}
        try:
            authorization = credentials.authorization()
            if authorization:
                headers["Authorization"] = authorization
            if probe.body:
                headers["Content-Type"] = "application/json"
            connection = self._connection(credentials)
        except CredentialError as exc:
            raise SendError(str(exc)) from exc
        try:
            connection.request(probe.method, self.target.path.rstrip("/") + probe.path, probe.body or None, headers)
            answer = connection.getresponse()
            answer.read(_READ_BYTES)
        except (OSError, http.client.HTTPException) as exc:
            raise SendError(f"{self.target.url.partition('?')[0]}: {str(exc) or type(exc).__name__}") from exc
        finally:
            connection.close()
        return answer.status, answer.getheader("Audit-Id") or ""

    def _connection(self, credentials: Credentials) -> http.client.HTTPConnection:
        target = self.target
        if target.scheme != "https":
            return http.client.HTTPConnection(target.host, target.port, timeout=_ANSWER_S)
        try:
            context = ssl.create_default_context(cadata=target.ca.decode("ascii", "replace") if target.ca else None)
        except (ssl.SSLError, ValueError) as exc:
            raise SendError("its certificate authority is no certificate in PEM") from exc
        if target.is_insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        certificate, key = credentials.certificate()
        if certificate:
            load_certificate(context, certificate, key)
        return http.client.HTTPSConnection(target.host, target.port, timeout=_ANSWER_S, context=context)


@dataclass(frozen=True, slots=True)
class KubectlSender:
    """Sends through kubectl, which knows every way to log in; it has no flag for an Audit-ID."""

    command: Sequence[str]

    def send(self, probe: Probe) -> tuple[int | None, str]:
        """Send it with `--raw`. Raises SendError."""
        words = ["get", "--raw", probe.path] if not probe.body else ["create", "--raw", probe.path, "-f", "-"]
        try:
            done = subprocess.run(  # noqa: S603 - the program the user named
                [*self.command, *words], input=probe.body, capture_output=True, timeout=_ANSWER_S, check=False
            )
        except subprocess.TimeoutExpired as exc:
            raise SendError(f"kubectl gave no answer in {_ANSWER_S:.0f} s") from exc
        except OSError as exc:
            raise SendError(f"{self.command[0]}: {exc.strerror}") from exc
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode and "from server" not in said and "You must be logged in" not in said:
            raise SendError(f"kubectl: {said.splitlines()[-1] if said else f'ended with {done.returncode}'}")
        return None, ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    One Event of a probe, seen somewhere.

    `lag_us`: from the end of its stage to the moment we saw it; from when the request was sent where the server's
    clock is not ours. `ahead_us`: by how much, at least, that clock goes before ours; negative when behind.
    """

    probe: Probe
    place: str
    stage: Stage
    level: Level | None
    audit_id: str
    lag_us: int | None
    user: str
    expected: Level | None = None
    ahead_us: int = 0


@dataclass(slots=True)
class Watch:
    """Knows what was sent and collects what is seen of it; `now_us` is the clock of this machine."""

    sent: Sequence[Sent]
    now_us: Callable[[], int]
    policy: Policy | None = None
    seen: list[Sighting] = field(default_factory=list)

    def take(self, place: str, raw: bytes) -> None:
        """Look whether an Event is one of ours; one seen before at this place is passed over."""
        one = next((sent for sent in self.sent if sent.probe.mark.encode() in raw), None)
        if one is None:
            return
        try:
            event = decode(raw)
        except ValueError:
            return
        if one.probe.mark not in (event.request_uri or "") or self._knows(one.probe, place, event.stage):
            return
        user = event.user.username if event.user is not None else None
        expected = None
        if self.policy is not None:
            expected = evaluate(self.policy, attributes_from_event(event)).level
        lag_us, ahead_us = self._times(one, event)
        audit_id = event.audit_id or ""
        self.seen.append(
            Sighting(one.probe, place, event.stage, event.level, audit_id, lag_us, user or "", expected, ahead_us)
        )

    def _knows(self, probe: Probe, place: str, stage: Stage) -> bool:
        return any((one.probe, one.place, one.stage) == (probe, place, stage) for one in self.seen)

    def _times(self, sent: Sent, event: Event) -> tuple[int | None, int]:
        """Give lag and `ahead_us`: no stage ends before its request was sent, or after it was seen."""
        now_us = self.now_us()
        try:
            stage_us = microtime.parse(event.stage_timestamp or "")
        except microtime.TimeError:
            return None, 0
        ahead_us = min(stage_us - sent.sent_us, 0) or max(stage_us - now_us, 0)
        if abs(ahead_us) > _SAME_CLOCK_US:
            return now_us - sent.sent_us, ahead_us
        return max(now_us - stage_us, 0), 0

    def is_complete(self, places: Sequence[Places]) -> bool:
        """Say whether the last stage of every request was seen at one of each of these places."""
        return not list(self.missing(places))

    def missing(self, places: Sequence[Places]) -> Iterator[tuple[Sent, Places]]:
        """Give the requests whose last stage was not seen, with the places of which one would do."""
        for sent in self.sent:
            for one_of in places:
                stages = {one.stage for one in self.seen if one.probe == sent.probe and one.place in one_of}
                is_refused = sent.status == _UNAUTHORIZED and Stage.RESPONSE_STARTED in stages
                if not stages & _FINAL and not is_refused:
                    yield sent, one_of


def left_out(policy: Policy, probe: Probe) -> str:
    """Say what a policy leaves out of this request, asked by a user whom it does not name; empty when nothing."""
    attributes = request_info(probe.method, probe.path).attributes("", ("system:authenticated",))
    decision = evaluate(policy, attributes)
    if decision.level is Level.NONE:
        return "records nothing of it"
    return "leaves out ResponseComplete" if Stage.RESPONSE_COMPLETE in decision.omit_stages else ""


class Tail:
    """What is written to a log from now on, through rotation: the old file to its end, then the new one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._rest = b""
        self._open()
        if self._fd >= 0:
            os.lseek(self._fd, 0, os.SEEK_END)

    def lines(self) -> Iterator[bytes]:
        """Give the lines that are whole since the last call. Raises OSError."""
        if self._fd < 0:
            self._open()
        while self._fd >= 0:
            was_rotated = self._was_rotated()  # asked first: what was written until then is read below
            self._begin_anew_if_cut()
            while data := os.read(self._fd, _READ_BYTES):
                *whole, self._rest = (self._rest + data).split(b"\n")
                yield from whole
            if not was_rotated:
                return
            self.close()
            self._open()

    def _begin_anew_if_cut(self) -> None:
        """Read from the start what was emptied in place, as logrotate's copytruncate does."""
        if os.fstat(self._fd).st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._rest = b""

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._rest = -1, b""

    def _open(self) -> None:
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            self._fd = -1
            return
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()
            raise OSError(errno.EINVAL, "this is no plain file")

    def _was_rotated(self) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        held = os.fstat(self._fd)
        return (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino)
