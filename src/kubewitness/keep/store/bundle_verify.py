"""
Check a bundle of evidence: that these Events were recorded, in exactly these bytes, in a log that somebody signed.

    python3 verify.py [--key KEY] [DIRECTORY]

Needs Python 3.8 or later and nothing else; nothing is fetched and nothing is written. README.txt explains the files.
Ends with 0 if all is as it was signed, 3 if not, 4 if anything was removed or nothing is there, 2 if called wrongly.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

SUMS = "SHA256SUMS"
ABOUT = "about.json"
KEYS = "keys.txt"
CHECKPOINT = "checkpoint"
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
GROUPS = {
    "envelope": 0,
    "outline": 1,
    "requestURI.query": 2,
    "user": 3,
    "client": 4,
    "requestObject": 5,
    "responseObject": 6,
    "responseStatus": 7,
    "annotations": 8,
}
MEMBERS = {
    b"user": 3,
    b"impersonatedUser": 3,
    b"sourceIPs": 4,
    b"userAgent": 4,
    b"requestObject": 5,
    b"responseObject": 6,
    b"responseStatus": 7,
    b"annotations": 8,
}
QUERY = 2
STATES = {"dropped", "sealed", "redacted", "expired"}


class WrongError(Exception):
    """Something is not as it was signed."""


BROKEN = (WrongError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


# --- Ed25519 (RFC 8032), slow and plain ---------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _x_of(y: int, sign: int) -> int:
    if y >= P:
        raise WrongError("a point of the curve is written wrongly")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        raise WrongError("a point is not on the curve")
    return P - x if x & 1 != sign else x


def _decode(data: bytes) -> tuple[int, int, int, int]:
    value = int.from_bytes(data, "little")
    y, sign = value & ((1 << 255) - 1), value >> 255
    x = _x_of(y, sign)
    return x, y, 1, x * y % P


def _add(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    one = (a[1] - a[0]) * (b[1] - b[0]) % P
    two = (a[1] + a[0]) * (b[1] + b[0]) % P
    three = 2 * a[3] * b[3] * D % P
    four = 2 * a[2] * b[2] % P
    e, f, g, h = two - one, four - three, four + three, two + one
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(number: int, point: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result


def _encode(point: tuple[int, int, int, int]) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = _decode(BASE_Y.to_bytes(32, "little"))


def is_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is that of a key."""
    if len(public) != 32 or len(signature) != 64:
        return False
    number = int.from_bytes(signature[32:], "little")
    if number >= ORDER:
        return False
    try:
        x, y, z, t = _decode(public)
    except WrongError:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    factor = int.from_bytes(digest, "little") % ORDER
    return _encode(_add(_times(number, BASE), _times(factor, (P - x, y, z, P - t)))) == signature[:32]


# --- signed notes and checkpoints (C2SP signed-note, tlog-checkpoint) -------------------------------------------


def decode64(text: str, what: str) -> bytes:
    """Decode base64 that is spelt in the only way for its bytes."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise WrongError(what + " is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise WrongError(what + " is not canonical base64")
    return data


def parse_key(line: str) -> tuple[str, bytes, bytes]:
    """Read a verifier key: its name, its four-byte hash, the public key."""
    parts = line.split("+", 2)
    if len(parts) != 3 or not parts[0]:
        raise WrongError("not a verifier key: " + line)
    raw = decode64(parts[2], "a verifier key")
    digest = hashlib.sha256(parts[0].encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != 1 or digest.hex() != parts[1]:
        raise WrongError("not an Ed25519 verifier key: " + line)
    return parts[0], digest, raw[1:]


def parse_keys(text: str) -> list[tuple[str, bytes, bytes]]:
    """Read verifier keys, a line each."""
    return [parse_key(line) for line in text.splitlines() if line and not line.startswith("#")]


def open_checkpoint(note: bytes, keys: list[tuple[str, bytes, bytes]]) -> tuple[str, int, bytes, list[str]]:
    """Check who signed a checkpoint; give origin, size, root, and the names of the keys."""
    text, mark, signatures = note.rpartition(b"\n\n")
    text += b"\n"
    lines = text.decode("utf-8", "strict").split("\n")
    if re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", note):
        raise WrongError("the checkpoint holds control characters")
    if not mark or not signatures.endswith(b"\n") or len(lines) != 4 or not re.fullmatch(r"0|[1-9][0-9]*", lines[1]):
        raise WrongError("the checkpoint is not one")
    signed_by = []
    for line in signatures.decode("utf-8", "strict")[:-1].split("\n"):
        match = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
        if not match:
            raise WrongError("the checkpoint has a line that is no signature: " + repr(line))
        raw = decode64(match.group(2), "a signature")
        for name, digest, public in keys:
            if (name, digest) == (match.group(1), raw[:4]):
                if not is_signature(public, text, raw[4:]):
                    raise WrongError("the signature of " + name + " under the checkpoint is wrong")
                signed_by.append(name + "+" + digest.hex())
    if not any(name.rpartition("+")[0] == lines[0] for name in signed_by):
        raise WrongError("no key that is known signed the checkpoint of " + repr(lines[0]))
    root = decode64(lines[2], "the root")
    if len(root) != 32:
        raise WrongError("the root is not a hash")
    return lines[0], int(lines[1]), root, signed_by


# --- the tree (RFC 9162) ------------------------------------------------------------------------------------------


def root_of(index: int, size: int, entry: bytes, path: list[bytes]) -> bytes:
    """Give the root to which an entry and its proof lead."""
    if not 0 <= index < size:
        raise WrongError(f"the log of the checkpoint has no entry {index}")
    current = hashlib.sha256(b"\x00" + entry).digest()
    at, last = index, size - 1
    for part in path:
        if last == 0:
            raise WrongError("the proof is too long")
        if at & 1 or at == last:
            current = hashlib.sha256(b"\x01" + part + current).digest()
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            current = hashlib.sha256(b"\x01" + current + part).digest()
        at, last = at >> 1, last >> 1
    if last:
        raise WrongError("the proof is too short")
    return current


# --- the leaf: what of an Event is in the tree ------------------------------------------------------------------

STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
HEAD = re.compile(rb'"([^"\\]*)":')
SIMPLE = re.compile(STRING + rb"|[^ \t\r\n\",:{}\[\]]+", re.DOTALL)
TOKEN = re.compile(STRING + rb"|[{}\[\]\"]", re.DOTALL)


def _end_of_value(data: bytes, at: int) -> int:
    if data[at : at + 1] not in (b"{", b"["):
        simple = SIMPLE.match(data, at)
        return simple.end() if simple else 0
    depth = 0
    for token in TOKEN.finditer(data, at):
        if token.group() == b'"':
            return 0
        if token.group() in (b"{", b"["):
            depth += 1
        elif token.group() in (b"}", b"]"):
            depth -= 1
            if not depth:
                return token.end()
    return 0


def members_of(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Give names and values of an Event that is written without white space; None for another."""
    found: list[tuple[bytes, bytes]] = []
    names = set()
    at = 1
    if data == b"{}":
        return []
    while data[:1] == b"{":
        head = HEAD.match(data, at)
        end = _end_of_value(data, head.end()) if head else 0
        if not head or not end or head.group(1) in names:
            return None
        names.add(head.group(1))
        found.append((head.group(1), data[head.end() : end]))
        if data[end:] == b"}":
            return found
        if data[end : end + 1] != b",":
            return None
        at = end + 1
    return None


def contents_of(data: bytes, removed: dict[int, str]) -> dict[int, bytes]:
    """Cut an Event into its groups, without those that were removed."""
    if removed:
        told = {name: removed[number] for name, number in GROUPS.items() if number in removed}
        ending = b',"kubewitness.io/removed":' + json.dumps(told, separators=(",", ":")).encode() + b"}"
        if not data.endswith(ending):
            raise WrongError("the Event does not end by saying what was removed from it")
        data = data[: -len(ending)] + b"}"
    members = members_of(data)
    if members is None:
        if removed:
            raise WrongError("an Event from which something was removed cannot be cut")
        return {1: data}
    outline = []
    groups: dict[int, list[bytes]] = {}
    for name, value in members:
        shown = value
        group = MEMBERS.get(name)
        if group is not None:
            if group in removed and value != b"null":
                raise WrongError(f"{name.decode()} was removed, and yet it is in the Event")
            groups.setdefault(group, []).append(b'"' + name + b'":' + value)
            shown = b""
        elif name == b"requestURI" and value[:1] == b'"' and b"?" in value:
            path, _, query = value.partition(b"?")
            groups[QUERY] = [b"?" + query[:-1]]
            shown = path + b'"'
        outline.append(b'"' + name + b'":' + shown)
    if QUERY in removed and QUERY in groups:
        raise WrongError("the query was removed, and yet it is in the Event")
    contents = {1: b"{" + b",".join(outline) + b"}"}
    contents.update((group, b",".join(parts)) for group, parts in groups.items() if group not in removed)
    return contents


def entry_of(event: bytes, evidence: dict[str, object]) -> bytes:
    """Give the entry of the log for an Event, its salts, and the hashes of what was removed from it."""
    groups = evidence["groups"]
    if not isinstance(groups, dict):
        raise WrongError("the evidence has no groups")
    if "commitment" in evidence:
        gone = {"kubewitness.io/removed": {"event": evidence["state"]}}
        if evidence["state"] not in STATES or event != json.dumps(gone, separators=(",", ":")).encode() or groups:
            raise WrongError("the Event was removed, and yet it is there")
        return b"\x01" + _hex(evidence["commitment"], 32)
    removed = {GROUPS[name]: str(what["state"]) for name, what in groups.items() if "state" in what}
    received, source = evidence["received"], evidence["source"]
    if not isinstance(received, str) or not isinstance(source, str) or str(int(received)) != received:
        raise WrongError("time or source is not written in the one way it can be")
    if not set(removed.values()) <= STATES:
        raise WrongError("something was removed for a reason that there is not")
    if any(number < QUERY for number in removed):
        raise WrongError("no Event is without its envelope or its outline")
    contents = contents_of(event, removed)
    contents[0] = int(received).to_bytes(8, "big") + source.encode()
    hashes = {}
    for name, what in groups.items():
        number = GROUPS[name]
        if number in removed:
            hashes[number] = _hex(what["hash"], 32)
        elif number in contents:
            head = bytes([2, number]) + _hex(what["salt"], 16)
            hashes[number] = hashlib.sha256(head + contents[number]).digest()
        else:
            raise WrongError(f"there is a salt for {name}, which the Event has not")
    if not set(contents) <= set(hashes):
        raise WrongError("a salt of the Event is missing")
    bitmap = sum(1 << (number - 2) for number in hashes if number >= 2)
    joined = b"".join(hashes[number] for number in sorted(hashes))
    return b"\x01" + hashlib.sha256(bytes([3, bitmap]) + joined).digest()


def _hex(text: object, length: int) -> bytes:
    data = bytes.fromhex(str(text))
    if len(data) != length or data.hex() != text:
        raise WrongError("the evidence has a hash or salt that is none")
    return data


def parse_proof(data: bytes) -> tuple[dict[str, object], int, list[bytes], bytes]:
    """Read a C2SP tlog-proof: our evidence in its `extra` line, index, hashes, checkpoint."""
    head, mark, note = data.partition(b"\n\n")
    lines = head.decode("ascii").split("\n")
    if not mark or len(lines) < 3 or lines[0] != PROOF_HEADER or lines[1][:6] != "extra ":
        raise WrongError("the proof is not one")
    extra = decode64(lines[1][6:], "the evidence")
    evidence = json.loads(extra)
    if canonical(evidence, indent=None) != extra or not isinstance(evidence, dict):
        raise WrongError("the evidence is not written in the one way it can be")
    if not re.fullmatch("index (0|[1-9][0-9]*)", lines[2]):
        raise WrongError("the proof has no index")
    return evidence, int(lines[2][6:]), [decode64(line, "the proof") for line in lines[3:]], note


def check_proof(event: bytes, proof: bytes, size: int, root: bytes) -> tuple[int, bytes]:
    """Check that an Event is in the log of this size and root; give its index and the proof's checkpoint."""
    evidence, index, path, note = parse_proof(proof)
    if set(evidence) - {"groups", "received", "source", "version", "commitment", "state"} or evidence["version"] != 1:
        raise WrongError("the evidence is of a kind that this program does not know")
    if root_of(index, size, entry_of(event, evidence), path) != root:
        raise WrongError("the Event, or its time, source or place, is not what was recorded")
    return index, note


# --- the bundle -----------------------------------------------------------------------------------------------


def canonical(value: object, indent: int | None = 2) -> bytes:
    """Write JSON in the one way in which bundles have it."""
    if indent is None:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return json.dumps(value, sort_keys=True, indent=indent).encode() + b"\n"


def check_sums(files: dict[str, bytes]) -> None:
    """Check that every file is the one that was put in, and no other is there."""
    lines = files.get(SUMS, b"").decode("ascii").split("\n")
    body = "".join(line + "\n" for line in lines[:-2])
    if len(lines) < 2 or lines[-1] or lines[-2] != "# " + hashlib.sha256(body.encode()).hexdigest():
        raise WrongError(SUMS + " was changed")
    listed = {}
    for line in lines[:-2]:
        digest, _, name = line.partition("  ")
        listed[name] = digest
    for name in sorted(set(files) - {SUMS} | set(listed)):
        if name not in files:
            raise WrongError(name + " is missing")
        if name not in listed:
            raise WrongError(name + " does not belong here")
        if hashlib.sha256(files[name]).hexdigest() != listed[name]:
            raise WrongError(name + " was changed")


def check_event(files: dict[str, bytes], index: int, size: int, root: bytes) -> list[str]:
    """Check one Event of a bundle against the size and root of its checkpoint; give what was removed from it."""
    name = f"events/{index:020d}"
    found, note = check_proof(files[name + ".json"], files[name + ".tlog-proof"], size, root)
    if found != index:
        raise WrongError(f"the proof is one of Event {found}")
    if note != files[CHECKPOINT]:
        raise WrongError("the proof has another checkpoint than the bundle")
    evidence = parse_proof(files[name + ".tlog-proof"])[0]
    if "commitment" in evidence:
        return [f"event {evidence['state']}"]
    groups = evidence["groups"] if isinstance(evidence["groups"], dict) else {}
    return [f"{group} {what['state']}" for group, what in groups.items() if "state" in what]


def read_about(files: dict[str, bytes], origin: str) -> list[int]:
    """Give the indexes of the Events that a bundle says it has, which must be those that are there."""
    about = json.loads(files[ABOUT])
    if canonical(about) != files[ABOUT]:
        raise WrongError(ABOUT + " is not written in the one way it can be")
    indexes = [int(index) for index in about["events"]]
    there = {name for name in files if name.startswith("events/")}
    named = {f"events/{index:020d}.{kind}" for index in indexes for kind in ("json", "tlog-proof")}
    if about["origin"] != origin or there != named or len(set(indexes)) != len(indexes):
        raise WrongError(ABOUT + " tells of another log, or of other Events")
    return indexes


def check(files: dict[str, bytes], given: str = "") -> tuple[list[str], list[str], int, list[str]]:
    """Check a bundle, by its files; give what is good, what is wrong, how many Events are proved, what was removed."""
    good: list[str] = []
    wrong: list[str] = []
    removed: list[list[str]] = []
    try:
        check_sums(files)
        good.append(f"{len(files)} files are as they were put in")
    except BROKEN as exc:
        wrong.append(_told(exc))
    try:
        keys = parse_keys(given or files[KEYS].decode())
        origin, size, root, names = open_checkpoint(files[CHECKPOINT], keys)
        good.append(f"the log {origin} of {size} entries, root {base64.b64encode(root).decode()}")
        good.append("signed by " + ", ".join(names))
        indexes = read_about(files, origin)
    except BROKEN as exc:
        return good, [*wrong, _told(exc)], 0, []
    for index in indexes:
        try:
            removed.append(check_event(files, index, size, root))
        except BROKEN as exc:
            wrong.append(f"Event {index}: {_told(exc)}")
    whole = removed.count([])
    if whole:
        good.append(f"{_were(whole)} recorded in that log, in exactly these bytes")
    kinds = [kind for gone in removed for kind in gone]
    counts = ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds)))
    told = f"{_were(len(removed) - whole)} recorded there, and this was removed; nothing says by whom: {counts}"
    return good, wrong, len(removed), [told] if kinds else []


def _were(count: int) -> str:
    return "1 Event was" if count == 1 else f"{count} Events were"


def _told(exc: Exception) -> str:
    return str(exc) if isinstance(exc, WrongError) else f"cannot be read: {type(exc).__name__} {exc}"


def read_directory(path: Path) -> dict[str, bytes]:
    """Read all files of a bundle."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def main(arguments: list[str]) -> int:
    """Check the bundle in which this program lies, or another."""
    given = ""
    places: list[str] = []
    while arguments:
        word = arguments.pop(0)
        if word == "--key" and arguments:
            word = arguments.pop(0)
            file = Path(word)
            given += (file.read_text("utf-8") if len(word) < 1000 and file.is_file() else word) + "\n"
        elif word.startswith("-") or places:
            print((__doc__ or "").strip())
            return 2
        else:
            places.append(word)
    good, wrong, proved, lacking = check(
        read_directory(Path(*places) if places else Path(__file__).resolve().parent), given
    )
    for line in good:
        print("ok     " + ascii(line)[1:-1])
    for line in lacking:
        print("LACKS  " + ascii(line)[1:-1])
    for line in wrong:
        print("WRONG  " + ascii(line)[1:-1])
    if wrong:
        return 3
    if not proved:
        print("WRONG  there is no Event to check")
        return 4
    if not given:
        print("note   the keys are those of the bundle itself: compare keys.txt with what the operator of the log")
        print("       published before, or name the key that you know with --key")
    return 4 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
