"""Damaged and odd logs, small: what jq says of them must not depend on sifting."""

import json


def event(number: int, **changes: object) -> str:
    """One event line; every third is a delete."""
    fields: dict[str, object] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": f"id-{number}",
        "stage": "ResponseComplete",
        "verb": "delete" if number % 3 == 0 else "get",
        "user": {"username": f"u{number}", "groups": ["g"]},
        "sourceIPs": ["10.0.0.1"],
        "objectRef": {"resource": "secrets" if number % 2 else "pods", "name": f"n{number}", "namespace": "ns"},
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": f"2026-03-01T00:00:{number % 60:02d}.000000Z",
    }
    return json.dumps(fields | changes, separators=(",", ":"))


def _with(line: str | bytes, at: int = 5) -> bytes:
    odd = line.encode() if isinstance(line, str) else line
    return b"".join((odd if number == at else event(number).encode()) + b"\n" for number in range(10))


_DEEP = event(5)[:-1] + ',"requestObject":%s1%s}'
CASES: dict[str, bytes] = {
    "clean": _with(event(5)),
    "empty": b"",
    "only_blank": b"\n \n\t\n",
    "malformed_middle": _with('{"kind":"Event","verb":"get",,,}'),
    "garbage_text_line": _with("E0301 00:00:00 12345 panic: something"),
    "garbage_text_first": _with("panic", 0),
    "truncated_last": _with(event(5))[:-60],
    "no_final_newline": _with(event(5))[:-1],
    "blank_lines": _with(event(5)).replace(b"\n", b"\n\n"),
    "blank_tail": _with(event(5)) + b"\n \n\r\n  ",
    "torn_merge": _with(event(5)[:80] + event(55)),
    "two_on_a_line": _with(event(5) + event(6)),
    "two_on_a_line_and_a_gap": _with(event(5) + " " + event(6) + "\n"),
    "nul_bytes_run": _with("\0" * 4096),
    "nul_prefix_line": _with("\0" * 64 + event(5)),
    "escaped_nul": _with(event(5, userAgent="a\0b", verb="delete\0")),
    "dup_keys": _with(event(5)[:-1] + ',"verb":"delete"}'),
    "dup_keys_hide": _with(event(5, verb="delete")[:-1] + ',"verb":"get"}'),
    "dup_struct": _with(event(5)[:-1] + ',"objectRef":null}'),
    "unknown_fields": _with(event(5, newField={"a": [1, {"b": None}]})),
    "code_missing": _with(event(5, responseStatus={"metadata": {}})),
    "status_null": _with(event(5, responseStatus=None)),
    "code_string": _with(event(5, responseStatus={"code": "200"})),
    "code_float": _with(event(5, responseStatus={"code": 403.0})),
    "objectRef_is_string": _with(event(5, objectRef="secrets")),
    "objectRef_is_false": _with(event(5, objectRef=False)),
    "objectRef_is_array": _with(event(5, objectRef=["secrets"])),
    "sourceIPs_is_string": _with(event(5, sourceIPs="10.0.0.1")),
    "sourceIPs_is_object": _with(event(5, sourceIPs={"a": "192.168.1.100", "b": 5})),
    "sourceIPs_of_numbers": _with(event(5, sourceIPs=["10.0.0.1", 5])),
    "sourceIPs_missing": _with(event(5, sourceIPs=None)),
    "verb_is_number": _with(event(5, verb=5)),
    "verb_is_null_last": _with(event(9, verb=None), 9),
    "user_is_number_last": _with(event(9, user=5), 9),
    "mixed_body_types": _with(event(5, requestObject=[1, "a"])),
    "crlf": _with(event(5)).replace(b"\n", b"\r\n"),
    "bom": b"\xef\xbb\xbf" + _with(event(5)),
    "bom_in_the_middle": _with("\ufeff" + event(5)),
    "eventlist_line": _with('{"kind":"EventList","items":[' + event(50) + "," + event(51) + "]}"),
    "array_line": _with("[" + event(50) + "," + event(51) + "]"),
    "scalar_lines": _with('5\n"x"\nnull\ntrue'),
    "nan_line": _with('{"verb":NaN}'),
    "nan_bare": _with("nan"),
    "lone_surrogate": _with(event(5).replace('"u5"', '"u\\ud800x"')),
    "lone_low_surrogate": _with(event(5).replace('"u5"', '"u\\udc00x"')),
    "invalid_utf8": _with(event(5).replace('"u5"', '"u\u00e9"').encode("latin-1")),
    "invalid_utf8_verb": _with(event(5, verb="BAD").encode().replace(b"BAD", b"delete\xff")),
    "invalid_utf8_key": _with(event(5).encode().replace(b'"verb"', b'"verb\xff"')),
    "control_in_string": _with(event(5).replace('"u5"', '"u\x015"')),
    "tab_in_string": _with(event(5).replace('"u5"', '"u\t5"')),
    "nel_in_string": _with(event(5).replace('"u5"', '"u\u0085\u2028"')),
    "escaped_value": _with(event(5).replace('"secrets"', '"\\u0073ecrets"')),
    "escaped_key": _with(event(5).replace('"verb":"get"', '"\\u0076erb":"del\\u0065te"')),
    "escaped_slash": _with(event(5, requestURI="/api/v1/x/exec").replace("/", "\\/")),
    "spaces_in_json": b"".join(json.dumps(json.loads(event(n))).encode() + b"\n" for n in range(10)),
    "pretty_printed": b"".join(json.dumps(json.loads(event(n)), indent=1).encode() + b"\n" for n in range(10)),
    "pretty_in_the_middle": _with(json.dumps(json.loads(event(5)), indent=1)),
    "lines_in_an_array": b"[\n" + event(3).encode() + b"\n]\n" + _with(event(5)),
    "lines_in_an_object": _with('{"a":\n' + event(6) + "\n}"),
    "line_in_a_string": _with('{"a":"\n' + event(6) + '\n"}'),
    "open_string_to_the_end": _with('"\n' + event(6)),
    "deep_250": _with(_DEEP % ('{"a":' * 249, "}" * 249)),
    "deep_256": _with(_DEEP % ('{"a":' * 255, "}" * 255)),
    "deep_257": _with(_DEEP % ('{"a":' * 256, "}" * 256)),
    "deep_arrays": _with(_DEEP % ("[" * 300, "]" * 300)),
    "deep_2000": _with(_DEEP % ('{"a":' * 2000, "}" * 2000)),
    "bigint": _with(event(5)[:-1] + ',"requestObject":{"v":123456789012345678901234567890,"f":1e999}}'),
    "big_code": _with(event(5, responseStatus={"code": 9007199254740993})),
    "infinite_code": _with(event(5, responseStatus={"code": 0}).replace('"code":0', '"code":1e999')),
    "long_line": _with(event(5, requestObject={"data": "x" * 700_000})),
    "record_separator": _with("\x1e" + event(5)),
    "form_feed": _with("\f" + event(5)),
}
