r"""
Write whole events from their exact bytes: jsonl as received, json indented, yaml.

jsonl is the evidence: byte for byte what the log held, hostile characters included, one event a line. json and yaml
are for reading: the same values, every character that could act on a terminal written as an escape.
"""

import json
import re
from collections.abc import Iterable

from kubewitness.cli.render.output import Output
from kubewitness.cli.render.yamltext import NumberText, yaml_text

_NOT_ASCII = re.compile(r"[^\x20-\x7e\n]")


def write_events_jsonl(events: Iterable[bytes], output: Output) -> int:
    """Write each event's exact bytes on a line of its own; give how many there were."""
    count = 0
    write = output.stream.buffer.write
    output.flush()
    for event in events:
        # bytes with a line end inside (pretty-printed input) keep their meaning as one line
        write(event if b"\n" not in event else b" ".join(event.split(b"\n")))
        write(b"\n")
        count += 1
    output.flush()
    return count


def write_events_json(events: Iterable[bytes], output: Output) -> int:
    """Write all events as one indented JSON array; give how many there were."""
    count = 0
    output.write("[")
    for event in events:
        output.write(f"{',' if count else ''}\n{_indented(event)}")
        count += 1
    output.write("\n]\n" if count else "]\n")
    return count


def write_events_yaml(events: Iterable[bytes], output: Output) -> int:
    """Write each event as one YAML document; give how many there were."""
    count = 0
    for event in events:
        output.write(f"---\n{_yaml(event)}")
        count += 1
    return count


def _ascii_json(text: str) -> str:
    r"""Give the same JSON in ASCII: outside strings it is ASCII already, inside them `\u` may stand anywhere."""
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1].replace("\x7f", "\\u007f"), text)


def _indented(event: bytes) -> str:
    import msgspec

    try:
        text = msgspec.json.format(event, indent=2).decode("utf-8", "replace")
    except (msgspec.DecodeError, RecursionError):
        # deeper or odder than the formatter takes: the event as it is, on one line
        text = event.decode("utf-8", "replace").strip()
    return _ascii_json(text)


def _yaml(event: bytes) -> str:
    try:
        return yaml_text(json.loads(event.decode("utf-8", "replace"), parse_float=NumberText))
    except (ValueError, RecursionError):
        # JSON is YAML too: what is too deep or too odd for the reader is shown as it is
        return f"{_ascii_json(event.decode('utf-8', 'replace').strip())}\n"
