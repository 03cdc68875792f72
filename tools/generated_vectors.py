"""The page of test vectors of leaves, drawn from tests/golden/leaf."""

import hashlib
import json
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "golden" / "leaf"
_SHOWN_BYTES = 60
_NAMES = (
    "envelope",
    "outline",
    "requestURI.query",
    "user",
    "client",
    "requestObject",
    "responseObject",
    "responseStatus",
    "annotations",
)
_INTRO = """\
# Test vectors of leaves

For whoever writes another reader of [the formats](formats.md): Events, the seed of a commit, and what must come out.
The files `tests/golden/leaf/*.json` of the source have everything, in hexadecimal.
This page shows enough to find out where a reader goes wrong.
An Event is shown as JSON text of its bytes; a content of more than 60 bytes is shown by its SHA-256.
"""


def _content(data: bytes) -> str:
    if len(data) > _SHOWN_BYTES:
        return f"SHA-256 `{hashlib.sha256(data).hexdigest()}`"
    text = data.decode("utf-8", "backslashreplace").replace("|", "\\|").replace("\n", "\\n").replace("\t", "\\t")
    return f"`{text}`" if text else "nothing"


def render_vectors() -> str:
    """Write the page."""
    lines = [_INTRO]
    for path in sorted(GOLDEN.glob("*.json"), reverse=True):
        vectors = json.loads(path.read_text("utf-8"))
        lines += [f"## {path.stem}.json", ""]
        for name in ("seed", "received_ns", "source"):
            lines += [f"- {name}: `{vectors[name]}`"]
        lines.append("")
        for place, event in enumerate(vectors["events"]):
            raw = bytes.fromhex(event["raw"])
            shown = json.dumps(raw.decode("utf-8", "backslashreplace"))
            lines += [f"### {path.stem}, Event {place}", "", "```json", shown, "```", ""]
            lines += ["| group | content | salt | hash |", "|---|---|---|---|"]
            for number, group in sorted((int(key), value) for key, value in event["groups"].items()):
                content = _content(bytes.fromhex(group["content"])) if number else f"`{group['content']}` (hexadecimal)"
                lines.append(f"| {number} {_NAMES[number]} | {content} | `{group['salt']}` | `{group['hash']}` |")
            lines += ["", f"Leaf: `{event['leaf']}`", ""]
    return "\n".join(lines).rstrip("\n") + "\n"
