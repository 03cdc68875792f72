"""
Read lines of text that hold an Event: the legacy audit format, and JSON behind a time stamp.

The legacy line is what kube-apiserver writes with `--audit-log-format=legacy`, and into its own log for every
Event that a failing backend lost. It is translated to the shape of an Event, with what it does not hold left
out (`event.dialects.not_given("legacy")`). JSON behind a time stamp is what `aws logs tail`, CloudWatch exports to
S3 and container runtimes write; the parts into which a runtime cuts a long line are not put together.

Follows EventString of k8s.io/apiserver/pkg/audit/format.go.
"""

import re

import msgspec

from kubewitness.event.envelopes import Opened, open_value

_TIME = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_LEGACY = re.compile(rb"(?P<time>" + _TIME + rb') AUDIT: (?P<fields>(?:[a-z-]+="(?:[^"\\]|\\.)*+" ?)++)')
_FIELD = re.compile(rb'([a-z-]+)="((?:[^"\\]|\\.)*+)"')
_BEFORE_JSON = re.compile(_TIME + rb" (?:[^ {]{1,512} ){0,3}(?=\{)")
_CRI = re.compile(_TIME + rb" (?:stdout|stderr) (?P<tag>[FP]) ")
_GO_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([abfnrtv\\\"']))")
_GO_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

# what stands where there is no value
_NOTHING = frozenset({"<none>", "<unknown>", "<self>", "<lookup>", "<deferred>"})


def text_line(line: bytes) -> Opened | str:
    """Give the Event in this line of text, or say what the line is instead."""
    legacy = _LEGACY.fullmatch(line)
    if legacy is not None:
        return _translate(legacy["time"].decode(), legacy["fields"])
    runtime = _CRI.match(line)
    if runtime is not None and runtime["tag"] == b"P":
        return "a part of a line, as a container runtime cuts long ones"
    before = _BEFORE_JSON.match(line)
    if before is None:
        return "a line of text, not JSON"
    found = open_value(line[before.end() :], None)
    if isinstance(found, str):
        return f"a line of text that holds {found}"
    if runtime is not None:
        return Opened(found.raw, found.dialect, ("a line of a container runtime", *found.notes))
    # CloudWatch exports, and `aws logs tail`, which puts the stream's name between
    return Opened(found.raw, "eks", ("a CloudWatch line", *found.notes))


def _translate(time: str, fields: bytes) -> Opened | str:
    values = {name.decode(): unquote(value.decode(errors="replace")) for name, value in _FIELD.findall(fields)}
    given = {name: value for name, value in values.items() if value not in _NOTHING}
    event: dict[str, object] = {"kind": "Event", "apiVersion": "audit.k8s.io/v1"}
    event["auditID"] = given.get("id")
    event["stage"] = given.get("stage")
    event["requestURI"] = given.get("uri")
    event["verb"] = given.get("method")
    event["user"] = _user(given.get("user"), given.get("groups"))
    if "as" in given:
        event["impersonatedUser"] = _user(given["as"], given.get("asgroups"))
    if "ip" in given:
        event["sourceIPs"] = [given["ip"]]
    event["userAgent"] = given.get("user-agent")
    if "namespace" in given:
        event["objectRef"] = {"namespace": given["namespace"]}
    if given.get("response", "").isdigit():
        event["responseStatus"] = {"code": int(given["response"])}
    event["requestReceivedTimestamp"] = time
    present = {name: value for name, value in event.items() if value is not None}
    return Opened(msgspec.json.encode(present), "legacy", ("translated from the legacy format",))


def _user(name: str | None, groups: str | None) -> dict[str, object]:
    user: dict[str, object] = {} if name is None else {"username": name}
    if groups is not None:
        user["groups"] = [unquote(group) for group in re.findall(r'"((?:[^"\\]|\\.)*+)"', groups)]
    return user


def unquote(quoted: str) -> str:
    """Undo Go's %q, given what stands between the quotes."""
    return _GO_ESCAPE.sub(_unescape, quoted)


def _unescape(match: re.Match[str]) -> str:
    byte, short, long, letter = match.groups()
    if letter is not None:
        return _GO_LETTERS.get(letter, letter)
    code = int(byte or short or long, 16)
    # %q writes \x only for bytes that are not UTF-8, and never half of a pair
    return chr(code) if code < 0x110000 and not (byte and code > 127) and not 0xD800 <= code < 0xE000 else "\ufffd"
