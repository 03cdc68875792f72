"""The same Event from a file and from a webhook body is one."""

import tarfile
from io import BytesIO
from pathlib import Path

import zstandard

from kubewitness.event.identity import canonical_bytes
from kubewitness.event.items import Item
from kubewitness.event.split import split

DATA = Path(__file__).parent.parent / "data"


def unpack(name: str) -> bytes:
    with (DATA / name).open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read()


def test_a_file_and_a_webhook_stream_meet():
    """4,815 Events of the recording are equal by identity; the log alone holds 27 watches that ended at shutdown."""
    log = [canonical_bytes(p.raw) for p in split([unpack("audit-full.log.zst")], "log") if isinstance(p, Item)]
    with tarfile.open(fileobj=BytesIO(unpack("webhook-full.tar.zst"))) as tar:
        files = [tar.extractfile(m) for m in tar.getmembers() if m.name.endswith(".json")]
        bodies = [file.read() for file in files if file is not None]
    items = [canonical_bytes(p.raw) for body in bodies for p in split([body], "webhook") if isinstance(p, Item)]
    assert len(log) == len(set(log)) == 4842
    assert len(items) == len(set(items)) == 4815
    assert set(items) <= set(log)
    only_in_log = set(log) - set(items)
    assert len(only_in_log) == 27
    assert all(b'"stage":"ResponseComplete"' in event and b'"verb":"watch"' in event for event in only_in_log)


def test_only_the_leading_members_go():
    """`kind` elsewhere in the Event, or of another group, is part of it."""
    assert canonical_bytes(b'{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"Panic"}') == b'{"stage":"Panic"}'
    for raw in (
        b'{"stage":"Panic","kind":"Event","apiVersion":"audit.k8s.io/v1"}',
        b'{"kind":"Event","apiVersion":"v1","stage":"Panic"}',
        b'{"apiVersion":"audit.k8s.io/v1","kind":"Event","stage":"Panic"}',
    ):
        assert canonical_bytes(raw) == raw


def test_one_byte_more_is_another_event():
    """Identity is exact: white space and order count."""
    assert canonical_bytes(b'{"stage": "Panic"}') != canonical_bytes(b'{"stage":"Panic"}')
