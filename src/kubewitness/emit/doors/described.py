"""
Requests described as JSON, one object a line: for tests, for teaching, and for servers that are not written in Python.

`exchange_of(line, now_us, new_id)` gives the Exchange that `drive` takes through its stages. Members have the names
that an Event gives them; what is left out is as dull as possible: GET, no headers, answered 200 at once.
docs/reference/emit-input.md lists them. Raises DescriptionError.
"""

import re

import msgspec

from kubewitness.emit.doors.identity import ANONYMOUS, AUTHENTICATED
from kubewitness.emit.stages.handler import Exchange
from kubewitness.emit.stages.request import Request
from kubewitness.event.microtime import TimeError, parse
from kubewitness.event.types import ABSENT, UserInfo


class DescriptionError(ValueError):
    """This line describes no request."""


class _User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    username: str
    uid: str | None = None
    groups: tuple[str, ...] | None = None
    extra: dict[str, tuple[str, ...]] | None = None


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One line."""

    request_uri: str = msgspec.field(name="requestURI")
    method: str = "GET"
    user: _User | str | msgspec.UnsetType | None = msgspec.UNSET
    user_agent: str = ""
    audit_id: str = msgspec.field(name="auditID", default="")
    source_ips: tuple[str, ...] = msgspec.field(name="sourceIPs", default=())
    impersonated_user: _User | str | None = None
    impersonation_constraint: str | None = None
    request_object: msgspec.Raw = ABSENT
    response_object: msgspec.Raw = ABSENT
    code: int | None = 200
    received: str | None = None
    started: str | None = None
    completed: str | msgspec.UnsetType | None = msgspec.UNSET
    panic: str | None = None
    annotations: dict[str, str] = {}


_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_decoder = msgspec.json.Decoder(Description)


def exchange_of(line: bytes, now_us: int, new_id: str) -> Exchange:
    """Read a line. Raises DescriptionError."""
    try:
        told = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DescriptionError(_reason(line, exc)) from exc
    except RecursionError as exc:
        raise DescriptionError("nested too deeply") from exc
    received_us = _time("received", told.received, now_us)
    started_us = _time("started", told.started, received_us)
    if told.completed is msgspec.UNSET:
        # a moment that is not told is now, unless the times told are of another day
        completed_us: int | None = max(now_us, started_us) if told.received is None else started_us
    else:
        completed_us = None if told.completed is None else _time("completed", told.completed, started_us)
    if not received_us <= started_us <= (started_us if completed_us is None else completed_us):
        raise DescriptionError("received, started and completed are not in this order")
    if told.code is not None and not 100 <= told.code <= 599:
        raise DescriptionError(f"code {told.code} is no HTTP status")
    return Exchange(
        request=_request(told),
        user=ANONYMOUS if told.user is msgspec.UNSET else _user(told.user),
        received_us=received_us,
        new_id=new_id,
        request_object=_body(told.request_object),
        impersonated_user=_user(told.impersonated_user),
        impersonation_constraint=told.impersonation_constraint,
        code=told.code,
        response_object=_body(told.response_object),
        started_us=started_us,
        completed_us=completed_us,
        panic=told.panic,
        annotations=told.annotations,
    )


def _reason(line: bytes, error: Exception) -> str:
    """Say what is wrong where: msgspec counts a bad byte from its string, and takes half a pair for a torn line."""
    if isinstance(error, UnicodeDecodeError):
        try:
            line.decode()
        except UnicodeDecodeError as exc:
            return f"not UTF-8: 0x{line[exc.start]:02x} (byte {exc.start})"
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        for escape in _ESCAPE.finditer(line):
            if escape["half"]:
                return f"half a surrogate pair: {escape['half'].decode()} (byte {escape.start()})"
    return str(error)


def _request(told: Description) -> Request:
    peer = told.source_ips[-1] if told.source_ips else ""
    return Request(
        told.method,
        told.request_uri,
        user_agent=told.user_agent,
        audit_id=told.audit_id,
        forwarded_for=", ".join(told.source_ips[:-1]),
        peer=peer,
    )


def _user(told: _User | str | None) -> UserInfo | None:
    if told is None:
        return None
    if isinstance(told, str):
        return UserInfo(username=told, groups=(AUTHENTICATED,))
    return UserInfo(username=told.username, uid=told.uid, groups=told.groups, extra=told.extra)


def _body(raw: msgspec.Raw) -> bytes:
    body = bytes(raw)
    return b"" if body == b"null" else body


def _time(name: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return parse(text)
    except TimeError as exc:
        raise DescriptionError(f"{name}: {exc}") from exc
