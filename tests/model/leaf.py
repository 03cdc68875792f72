"""A leaf as docs/reference/formats.md words it, slowly: every byte looked at, nothing shared with the source."""

import hashlib

MEMBERS = {
    "user": 3,
    "impersonatedUser": 3,
    "sourceIPs": 4,
    "userAgent": 4,
    "requestObject": 5,
    "responseObject": 6,
    "responseStatus": 7,
    "annotations": 8,
}


class NotCutError(Exception):
    """The Event is one group."""


def string(text: str, at: int) -> int:
    if text[at : at + 1] != '"':
        raise NotCutError
    at += 1
    while text[at : at + 1] not in {'"', ""}:
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise NotCutError
    return at + 1


def value(text: str, at: int) -> int:
    """Give where the value that begins at `at` ends; the value itself is taken to be JSON."""
    first = text[at : at + 1]
    if first == '"':
        return string(text, at)
    if first in {"{", "["}:
        depth = 0
        while True:
            here = text[at : at + 1]
            if here == "":
                raise NotCutError
            if here == '"':
                at = string(text, at)
                continue
            depth += (here in "{[") - (here in "}]")
            at += 1
            if depth == 0:
                return at
    begin = at
    while text[at : at + 1] not in {*' \t\r\n",:{}[]', ""}:
        at += 1
    if at == begin:
        raise NotCutError
    return at


def members(raw: bytes) -> list[tuple[str, str]]:
    text = raw.decode("latin-1")
    if text == "{}":
        return []
    found, at = [], 0
    while at < len(text) - 1:
        if text[at] != ("," if at else "{"):
            raise NotCutError
        end = string(text, at + 1)
        name = text[at + 2 : end - 1]
        if "\\" in name or name in dict(found) or text[end : end + 1] != ":":
            raise NotCutError
        at = value(text, end + 1)
        found.append((name, text[end + 1 : at]))
    if text[at:] != "}" or not found:
        raise NotCutError
    return found


def contents(raw: bytes) -> dict[int, bytes]:
    """Cut an Event by the rule."""
    try:
        found = members(raw)
    except NotCutError:
        return {1: raw}
    outline, groups = [], {}
    for name, text in found:
        group = MEMBERS.get(name)
        if group is not None:
            groups.setdefault(group, []).append(f'"{name}":{text}')
            text = ""
        elif name == "requestURI" and text[0] == '"' and "?" in text:
            path, query = text.split("?", 1)
            groups[2] = ["?" + query[:-1]]
            text = path + '"'
        outline.append(f'"{name}":{text}')
    joined = {group: ",".join(parts).encode("latin-1") for group, parts in groups.items()}
    return {1: ("{" + ",".join(outline) + "}").encode("latin-1"), **joined}


def salt(seed: bytes, group: int, number: int) -> bytes:
    of_group = hashlib.shake_256(b"kubewitness leaf 1 group" + bytes([group]) + seed).digest(32)
    at = 16 * number if group else 0
    return hashlib.shake_256(b"kubewitness leaf 1 salts" + of_group).digest(at + 16)[at:]


def entry(seed: bytes, number: int, received_ns: int, source: str, raw: bytes) -> bytes:
    parts = {0: received_ns.to_bytes(8, "big") + source.encode(), **contents(raw)}
    inner = {
        g: hashlib.sha256(b"\x02" + bytes([g]) + salt(seed, g, number) + content).digest()
        for g, content in parts.items()
    }
    bitmap = sum(2 ** (g - 2) for g in inner if g >= 2)
    return b"\x01" + hashlib.sha256(b"\x03" + bytes([bitmap]) + b"".join(inner[g] for g in sorted(inner))).digest()
