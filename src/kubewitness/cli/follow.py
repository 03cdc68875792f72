"""
Go on as a log grows: what `search --follow` reads and shows.

Bytes come as they are written, over rotation (a new file under the name) and truncation; Events are told by
`event.decode.read_all`, judged by the generated function of the filter, and shown at once. A request is shown when its
first answer is known: RequestReceived is waited out, and a later stage of what was shown is not shown again.
"""

import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kubewitness._kit.opening import Compression, compression_of
from kubewitness.cli.errors import UserError
from kubewitness.event.decode import Record, read_all
from kubewitness.event.expr import Expr
from kubewitness.event.expr_values import Context
from kubewitness.event.items import Damage
from kubewitness.event.types import Event, Stage
from kubewitness.look.query.generate import function

STDIN = "-"
_POLL_S = 0.2
_CHUNK_BYTES = 1 << 18
# Requests remembered as shown; older ones, such as a watch of hours, may be shown a second time.
_REMEMBERED = 100_000


@dataclass(slots=True)
class Following:
    """Events of a growing log for which a filter is true; counts what it could not judge or read."""

    condition: Expr
    all_stages: bool = False
    damaged: int = 0
    unknown: int = 0
    _shown: "OrderedDict[tuple[object, ...], None]" = field(default_factory=OrderedDict)

    def records(
        self, arriving: Iterator[tuple[Record | Damage, Context]], tell_damage: Callable[[Damage], None]
    ) -> Iterator[tuple[Record, Context]]:
        """Give what the filter is true for, as it arrives."""
        is_wanted = function(self.condition)
        for found, context in arriving:
            if isinstance(found, Damage):
                self.damaged += 1
                tell_damage(found)
                continue
            event = found.event
            if not self.all_stages and (event.stage is Stage.REQUEST_RECEIVED or self._is_shown(event)):
                continue
            verdict = is_wanted(event, context)
            self.unknown += verdict is None
            if verdict:
                if not self.all_stages:
                    self._remember(event)
                yield found, context

    def _is_shown(self, event: Event) -> bool:
        return _identity(event) in self._shown

    def _remember(self, event: Event) -> None:
        # nothing comes after these
        if event.stage in (Stage.RESPONSE_COMPLETE, Stage.PANIC):
            return
        self._shown[_identity(event)] = None
        if len(self._shown) > _REMEMBERED:
            self._shown.popitem(last=False)


def _identity(event: Event) -> tuple[object, ...]:
    user = event.user.username if event.user else None
    return (event.audit_id, user, event.request_uri, event.request_received_timestamp)


def read_chunks(chunks: Iterator[bytes], source: str, context: Context) -> Iterator[tuple[Record | Damage, Context]]:
    """Give what is in these bytes, each with what is known of it besides."""
    for found in read_all(chunks, source):
        yield found, context


def chunks_of(source: str) -> Iterator[bytes]:
    """Give the bytes of a file or of standard input as they come; a file never ends."""
    return _piped() if source == STDIN else appended(Path(source))


def _piped() -> Iterator[bytes]:
    descriptor = sys.stdin.fileno()
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        yield chunk


def appended(path: Path, wait: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """Give what is in the file and what is appended to it, over rotation and truncation, for ever."""
    with path.open("rb") as head:
        if compression_of(head.read(4)) is not Compression.NONE:
            raise UserError(f"{path}: packed files do not grow; search it without --follow")
    while True:
        with path.open("rb", buffering=0) as file:
            yield from _until_replaced(file, path, wait)
        # a line that the old file left unfinished does not run into the new one
        yield b"\n"


def _until_replaced(file: BinaryIO, path: Path, wait: Callable[[float], None]) -> Iterator[bytes]:
    own = os.fstat(file.fileno())
    is_replaced = False
    while True:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
        if is_replaced:
            return
        wait(_POLL_S)
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
            yield b"\n"
        try:
            now = path.stat()
        except FileNotFoundError:
            continue  # between the renaming of the old file and the making of the new one
        # read on to the end once more: lines may have been written between the last read and the rotation
        is_replaced = (now.st_dev, now.st_ino) != (own.st_dev, own.st_ino)
