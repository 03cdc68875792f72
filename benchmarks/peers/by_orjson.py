"""A loop over lines with orjson: `by_orjson.py QUESTION LOG`."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson


def events(path: str) -> Iterator[dict[str, Any]]:
    """Every line, parsed."""
    with Path(path).open("rb") as log:
        yield from map(orjson.loads, log)


def t1(path: str) -> Iterator[tuple[object, ...]]:
    """Who read which secret."""
    for event in events(path):
        ref = event.get("objectRef") or {}
        if ref.get("resource") == "secrets" and event["verb"] == "get":
            yield (
                event["user"].get("username"),
                ref.get("name"),
                ref.get("namespace"),
                event["requestReceivedTimestamp"],
            )


def t2(path: str) -> Iterator[tuple[object, ...]]:
    """Requests by user, verb and resource."""
    counts = Counter(
        (event["user"].get("username"), event["verb"], (event.get("objectRef") or {}).get("resource"))
        for event in events(path)
    )
    for key, count in counts.items():
        yield count, *key


def t4(path: str) -> Iterator[tuple[object, ...]]:
    """Failed requests by user."""
    counts: Counter[object] = Counter()
    for event in events(path):
        if ((event.get("responseStatus") or {}).get("code") or 0) >= 400:
            counts[event["user"].get("username")] += 1
    for user, count in counts.items():
        yield count, user


def main() -> None:
    """Print the answer as tab-separated lines."""
    question, path = sys.argv[1:]
    rows = {"T1": t1, "T2": t2, "T4": t4}[question](path)
    sys.stdout.writelines("\t".join(map(str, row)) + "\n" for row in rows)


if __name__ == "__main__":
    main()
