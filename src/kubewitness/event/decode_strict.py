"""Turn exact bytes into an Event, strictly: what kube-apiserver writes, and nothing else."""

import msgspec

from kubewitness.event.recognise import API_GROUP
from kubewitness.event.types import Event


class EventError(ValueError):
    """These bytes are not an Event; the text says which field is wrong and how."""


_decoder = msgspec.json.Decoder(Event)


def decode(raw: bytes) -> Event:
    """Give the view of these bytes. Raises EventError when they are not exactly an Event."""
    try:
        event = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise EventError(str(exc)) from exc
    if event.kind not in {None, "Event"}:
        raise EventError(f"kind: {event.kind!r} is not Event")
    if event.api_version is not None and not event.api_version.startswith(API_GROUP):
        raise EventError(f"apiVersion: {event.api_version!r} is not {API_GROUP}*")
    return event
