"""The slow twin of the stage join: lists and dictionaries, one line after the other."""

import json
from collections.abc import Callable, Iterable
from typing import Any

RANKS = {"RequestReceived": 0, "ResponseStarted": 1, "ResponseComplete": 2, "Panic": 3}
Event = dict[str, Any]


def latest(lines: Iterable[bytes], matches: Callable[[Event], bool]) -> list[Event]:
    """Give one Event for each request of which a row at the latest stage matches; a row without auditID is its own."""
    groups: dict[object, list[Event]] = {}
    for number, line in enumerate(lines):
        event = json.loads(line)
        key = (
            event.get("auditID"),
            event.get("user", {}).get("username"),
            event.get("requestURI"),
            event.get("requestReceivedTimestamp"),
        )
        groups.setdefault(key if key[0] is not None else number, []).append(event)
    found = []
    for events in groups.values():
        top = max(RANKS[event["stage"]] for event in events)
        matching = [event for event in events if RANKS[event["stage"]] == top and matches(event)]
        found += matching[:1]
    return found
