"""Thirty ways in which an audit log is damaged or odd, each with the number of Events that must come back."""

import json
from typing import Any

LINES = 10


def event(i: int, **members: Any) -> str:
    """Give one Event as a line, with some members replaced or added."""
    base: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{i}",
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": f"u{i}", "groups": ["g"]},
        "sourceIPs": ["10.0.0.1"],
        "objectRef": {"resource": "secrets", "name": f"n{i}", "namespace": "ns"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": f"2026-03-01T00:00:{i % 60:02d}.000000Z",
    }
    return json.dumps(base | members, separators=(",", ":"))


def lines(**replaced: str) -> list[str]:
    """Give ten Events, a line each; `l5=` replaces the sixth."""
    return [replaced.get(f"l{i}", event(i)) for i in range(LINES)]


def _file(**replaced: str) -> bytes:
    return ("\n".join(lines(**replaced)) + "\n").encode()


def _with(suffix: str) -> str:
    return event(5)[:-1] + suffix


_DEEP = ',"requestObject":' + '{"a":' * 2000 + "1" + "}" * 2000 + "}"

CASES: dict[str, tuple[bytes, int]] = {
    "clean": (_file(), 10),
    "malformed_middle": (_file(l5='{"kind":"Event","verb":"get",,,}'), 9),
    "garbage_text_line": (_file(l5="E0301 00:00:00 12345 panic: something"), 9),
    "truncated_last": ("\n".join(lines())[:-60].encode(), 9),
    "no_final_newline": ("\n".join(lines()).encode(), 10),
    "blank_lines": (("\n\n".join(lines()) + "\n\n").encode(), 10),
    "torn_merge": (_file(l5=event(5)[:80] + event(55)), 9),
    "nul_bytes_run": (_file(l5="\0" * 4096), 9),
    "nul_prefix_line": (_file(l5="\0" * 64 + event(5)), 9),
    "escaped_nul": (_file(l5=event(5, userAgent="a\u0000b")), 10),
    "dup_keys": (_file(l5=_with(',"verb":"get"}')), 10),
    "huge_20MB_line": (_file(l5=event(5, requestObject={"data": "x" * 20_000_000})), 10),
    "unknown_fields": (_file(l5=event(5, newField={"a": [1, {"b": None}]})), 10),
    "code_missing": (_file(l5=event(5, responseStatus={"metadata": {}})), 10),
    "status_null": (_file(l5=event(5, responseStatus=None)), 10),
    "code_string": (_file(l5=event(5, responseStatus={"code": "200"})), 10),
    "objectRef_is_string": (_file(l5=event(5, objectRef="secrets")), 9),
    "sourceIPs_is_string": (_file(l5=event(5, sourceIPs="10.0.0.1")), 10),
    "mixed_body_types": (
        _file(l4=event(4, requestObject=[1, "a"]), l5=event(5, requestObject="str"), l6=event(6, requestObject={})),
        10,
    ),
    "crlf": (("\r\n".join(lines()) + "\r\n").encode(), 10),
    "bom": (b"\xef\xbb\xbf" + _file(), 10),
    "eventlist_line": (
        _file(
            l5='{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
            f"{event(50)},{event(51)}]}}"
        ),
        11,
    ),
    "array_line": (_file(l5=f"[{event(50)},{event(51)}]"), 11),
    "lone_surrogate": (_file(l5=event(5).replace('"u5"', '"u\\ud800x"')), 10),
    "invalid_utf8": (_file(l5=event(5, userAgent="BAD")).replace(b"BAD", b"\xff\xfe\xc3"), 10),
    "unicode_escaped_value": (_file(l5=event(5).replace('"secrets"', '"\\u0073ecrets"')), 10),
    "spaces_in_json": (("\n".join(json.dumps(json.loads(x)) for x in lines()) + "\n").encode(), 10),
    "pretty_printed": (("\n".join(json.dumps(json.loads(x), indent=1) for x in lines()) + "\n").encode(), 10),
    "deep_2000": (_file(l5=_with(_DEEP)), 10),
    "bigint": (_file(l5=_with(',"requestObject":{"v":123456789012345678901234567890,"f":1e999}}')), 10),
}

REPAIRED = frozenset({"code_string", "sourceIPs_is_string", "bom", "lone_surrogate", "invalid_utf8", "dup_keys"})
"""Cases whose odd line comes back as an Event with a note, where the strict decoder or the file's form gave none."""
