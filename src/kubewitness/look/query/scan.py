"""
One pass over the inputs: rows that answer the question into a table, every other line accounted for.

The table `hits` gets a row for each Event that matches, or whose answer is unknown, in input order. In the same pass
the odd lines (see `relation`) are counted; only where there are any, a second pass numbers them, `scan_lines` finds
their bytes and `scan_rescue` makes Events or Damage of them. So a clean log is parsed once, and a damaged one exactly.
The first attempt is strict, which is faster and ends at the first bad line; then the tolerant one counts them all.

Four ways of reading: only the lines *picked* by `prefilter`, where there are few; *in place* (plain and .zst files of
one Event a line); in *blocks* (.gz, lines too long for the engine, .zst that the engine gives up on); and *rescued*
(every other shape: all of it through the tolerant path).

Columns of `hits` besides those asked for: `_match` (1 yes, 2 unknown, 0 kept for its key), `_odd`, `_rank` of the
stage, `_doubt` (a later stage may not match), `_key` of the request, `_filled` (what an early stage of it may lack),
`_part` (index into `parts`) and `_place` (index within a rescued part); and `_audit_id` where exact bytes are wanted.
"""

# ruff: noqa: S608 - writing SQL is what this module is for; names and texts go through identifier() and literal()
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from kubewitness._kit.opening import Compression, TornCheck, TornError
from kubewitness.event.items import Damage, DamageKind
from kubewitness.look.query.account import FileAccount
from kubewitness.look.query.lockdown import engine
from kubewitness.look.query.question import Question
from kubewitness.look.query.relation import Key, Reading, Relation
from kubewitness.look.query.relation_names import every_name, identifier, rows_read
from kubewitness.look.query.scan_blocks import LONG_LINE_BYTES, SHORT_LINE_BYTES, Block, BlockFiles, blocks
from kubewitness.look.query.scan_lengths import LENGTHS, MOST_IN_PLACE_BYTES, Measure
from kubewitness.look.query.scan_lines import BATCH_BYTES, Line, batches, count_lines, lines_named, pick, regions
from kubewitness.look.query.scan_parts import Part, Place
from kubewitness.look.query.source import Input

if TYPE_CHECKING:
    import duckdb

    from kubewitness.look.query.picks import Picks
    from kubewitness.look.query.scan_rescue import Rescued

AUDIT_ID = "_audit_id"
_BODIES = frozenset({"requestObject", "responseObject"})
_TOO_LONG = "maximum_object_size"
_LONG_FILE_BYTES = 32 << 20
_MOST_ASIDE_BYTES = 64 << 20  # of lines of blocks; beyond, what is shown is read once more
_BLOCK_OPTIONS = ""
# the engine's threads share a file buffer by buffer, of twice this size: 32 MiB would be a block for one thread alone
_IN_PLACE = f", maximum_object_size={4 << 20}"
_SHORT_LINES = f", maximum_object_size={2 * SHORT_LINE_BYTES}"


class Scan(msgspec.Struct):
    """Reads inputs into `hits`, a table of `connection`."""

    connection: "duckdb.DuckDBPyConnection"
    relation: Relation
    question: Question
    files: BlockFiles
    parts: list[Part] = msgspec.field(default_factory=list)
    done_bytes: int = 0
    aside_bytes: int = 0
    key: Key = Key.REQUEST
    picks: "Picks | None" = None
    measure: Measure | None = None
    keeps_every_row: bool = False
    """Keep rows that do not match too, empty but for their key: an early stage may match, and the latest not."""
    _has_table: bool = False

    def progress_bytes(self) -> int:
        """How many bytes have been read, as far as known. May be asked from another thread."""
        return self.done_bytes

    def read(self, inputs: Iterable[Input], key: Key, *, keeps_every_row: bool = False) -> list[FileAccount]:
        """Make `hits` anew and read every input into it."""
        self.key = key
        self.keeps_every_row = keeps_every_row
        self.parts.clear()
        self.done_bytes = self.aside_bytes = 0
        self._has_table = False
        if self.relation.measures:
            self.connection.execute(LENGTHS)
        accounts = []
        for one in inputs:
            account = FileAccount(one.name)
            self._read_input(one, account)
            accounts.append(account)
            self.done_bytes += one.size_bytes
        if not self._has_table:
            self._fill(f"{self._select('/dev/null', 0)} LIMIT 0")
        return accounts

    def _fill(self, select: str) -> None:
        """Put rows into `hits`; the first ones make it."""
        into = "INSERT INTO hits" if self._has_table else "CREATE OR REPLACE TABLE hits AS"
        self.connection.execute(f"{into} {select}")
        self._has_table = True

    def _read_input(self, one: Input, account: FileAccount) -> None:
        if one.size_bytes == 0:
            return
        if not one.is_lines:
            self._rescue_all(one, account)
        elif self.picks is not None and self._read_picked(one, account, self.picks.take(one)):
            account.damage_checked = False
        elif not self._can_be_read_in_place(one) or not self._read_in_place(one, account):
            self._read_blocks(one, account)

    def _can_be_read_in_place(self, one: Input) -> bool:
        """Say whether the engine reads the file well, and in order: a last line without its end may come first."""
        match one.compression:
            case Compression.NONE:
                return one.has_line_end and not (self.relation.measures and one.size_bytes > MOST_IN_PLACE_BYTES)
            case Compression.ZSTD:
                return not self.question.keeps_bytes and not self.relation.measures
            case Compression.GZIP:
                return False

    # --- picked ---------------------------------------------------------------------------------------------

    def _read_picked(self, one: Input, account: FileAccount, picked: list[tuple[int, bytes]] | None) -> bool:
        """Read only these lines. False when every line is to be read, as one of these is odd."""
        if picked is None or any(len(line) > LONG_LINE_BYTES for _, line in picked):
            return False
        fd = self.files.rescue_fd
        for batch in batches(picked):
            self.files.write(fd, (line if line.endswith(b"\n") else line + b"\n" for _, line in batch))
            keeps = self.question.keeps_bytes
            places = [Place(offset, 0, line.strip() if keeps else b"") for offset, line in batch]
            part = self._new_part(Part(one, lines=len(batch), places=places))
            # the engine sets buffers of this size aside for each thread: small ones for small lines
            longest = max(len(line) for _, line in batch)
            rows = self._insert(self.files.paths[fd], part, f", maximum_object_size={max(2 * longest, 1 << 20)}")
            account.lines += rows
            if rows != len(batch) or self._number("SELECT count(*) FROM hits WHERE _part = ? AND _odd", part):
                self._forget(one)
                account.lines = account.events = 0
                account.dialects.clear()
                return False
            account.events += rows
            account.dialects["kube-apiserver"] += rows
        return True

    # --- in place -------------------------------------------------------------------------------------------

    def _read_in_place(self, one: Input, account: FileAccount) -> bool:
        """Let the engine open the file itself. False when it cannot hold a line or unpack the data."""
        part = self._new_part(Part(one))
        torn = TornCheck(one.path) if one.compression is Compression.ZSTD else None
        try:
            rows = self._insert_either(one.path, part, _unpacking(one))
        except engine().InvalidInputException as exc:
            if _TOO_LONG in str(exc):
                return False
            raise
        except engine().IOException:
            if one.compression is Compression.ZSTD:
                return False
            raise
        account.lines += rows
        if not self._settle_odd(one, part, rows, account):
            return True
        if torn is not None and (cut := torn.result()) is not None:
            account.add_damage(_torn(one, cut, f"the zstd data ends within the frame that begins at byte {cut}"))
        return True

    # --- in blocks ------------------------------------------------------------------------------------------

    def _read_blocks(self, one: Input, account: FileAccount) -> None:
        try:
            for block in blocks(one.chunks(), self.files):
                if block.long_line:
                    account.lines += 1
                    self._rescue_lines([[Line(0, block.offset, block.line, block.long_line)]], one, account)
                    continue
                part = self._new_part(Part(one, block.offset, block.line, block.lines))
                options = _SHORT_LINES if block.has_short_lines else _BLOCK_OPTIONS
                rows = self._insert(self.files.paths[block.fd], part, options)
                account.lines += rows
                if not self._settle_odd(one, part, rows, account, block):
                    return
                if self.question.keeps_bytes:
                    self._put_aside(part, block)
        except TornError as exc:
            account.add_damage(_torn(one, exc.decompressed_bytes, exc.reason))

    def _put_aside(self, part: int, block: Block) -> None:
        """Keep the lines that may be asked for while they are at hand, if few: to unpack them again takes longer."""
        now, room = self.parts[part], _MOST_ASIDE_BYTES - self.aside_bytes
        asked = f"FROM hits WHERE _part = {part} AND _match > 0 AND NOT _odd"
        if self._number(f"SELECT count(*) {asked}") * self.files.size(block.fd) > room * now.rows:
            return
        found: list[tuple[int, bytes]] = []
        ids = {x.encode() for (x,) in self.connection.execute(f"SELECT {AUDIT_ID} {asked}").fetchall() if x is not None}
        for at, line in lines_named(self.files.read(block.fd), ids) if ids else ():
            room -= len(line)
            if room < 0:
                return
            found.append((block.offset + at, line))
        now.aside, self.aside_bytes = found, _MOST_ASIDE_BYTES - room

    # --- odd lines ------------------------------------------------------------------------------------------

    def _settle_odd(self, one: Input, part: int, rows: int, account: FileAccount, block: Block | None = None) -> bool:
        """Account for the rows of a part and rescue its odd lines. False when the whole input had to be rescued."""
        odd = self._number("SELECT count(*) FROM hits WHERE _part = ? AND _odd", part)
        account.events += rows - odd
        account.dialects["kube-apiserver"] += rows - odd
        if not odd:
            return True
        path = one.path if block is None else self.files.paths[block.fd]
        ordinals = self._ordinals(part, path, self._is_odd())
        has_blank_lines = count_lines(self._chunks(one, block)) != rows
        found = pick(self._chunks(one, block), ordinals, has_blank_lines=has_blank_lines)
        if block is not None:
            found = (Line(x.ordinal, x.offset + block.offset, x.line + block.line - 1, x.raw) for x in found)
        try:
            self._rescue_lines(regions(found), one, account)
        except _SpreadOverLinesError:
            self._forget(one)
            fresh = FileAccount(account.name)
            self._rescue_all(one, fresh)
            for name in FileAccount.__struct_fields__:
                setattr(account, name, getattr(fresh, name))
            return False
        return True

    def _chunks(self, one: Input, block: Block | None) -> Iterator[bytes]:
        if block is None:
            try:
                yield from one.chunks()
            except TornError:
                return  # counted where the part is settled
        else:
            yield from self.files.read(block.fd)

    def _forget(self, one: Input) -> None:
        mine = [index for index, part in enumerate(self.parts) if part.input is one]
        self.connection.execute("DELETE FROM hits WHERE _part IN (SELECT unnest(?))", [mine])

    def _rescue_lines(self, groups: Iterable[Iterable[Line]], one: Input, account: FileAccount) -> None:
        def rescued() -> "Iterator[Rescued | Damage]":
            for group in groups:
                yield from self._rescue_region(iter(group), one, account)

        self._insert_rescued(rescued(), one, account)

    def _rescue_region(self, group: Iterator[Line], one: Input, account: FileAccount) -> "Iterator[Rescued | Damage]":
        first = next(group)
        count = 1

        def chunks() -> Iterator[bytes]:
            nonlocal count
            yield first.raw
            for line in group:
                count += 1
                yield line.raw

        from kubewitness.look.query.scan_rescue import rescue

        is_open = first.raw.rstrip().endswith((b"{", b"["))
        for found in rescue(
            chunks(),
            one.name,
            self.relation.mark,
            offset=first.offset,
            line=first.line,
            needs_bodies=self._needs_bodies,
        ):
            if is_open and isinstance(found, Damage):
                raise _SpreadOverLinesError
            yield found
        account.odd += count

    # --- rescued --------------------------------------------------------------------------------------------

    def _rescue_all(self, one: Input, account: FileAccount) -> None:
        from kubewitness.look.query.scan_rescue import rescue

        torn: list[TornError] = []

        def chunks() -> Iterator[bytes]:
            try:
                yield from one.chunks()
            except TornError as exc:
                torn.append(exc)

        found = rescue(chunks(), one.name, self.relation.mark, needs_bodies=self._needs_bodies)
        self._insert_rescued(_counted(found, account), one, account)
        for exc in torn:
            account.add_damage(_torn(one, exc.decompressed_bytes, exc.reason))

    def _insert_rescued(self, found: "Iterable[Rescued | Damage]", one: Input, account: FileAccount) -> None:
        batch: list[Rescued] = []
        size = 0
        for x in found:
            if isinstance(x, Damage):
                account.add_damage(x)
                continue
            batch.append(x)
            size += len(x.line)
            if size >= BATCH_BYTES:
                self._insert_batch(batch, one, account)
                batch, size = [], 0
        if batch:
            self._insert_batch(batch, one, account)

    def _insert_batch(self, batch: "list[Rescued]", one: Input, account: FileAccount) -> None:
        keeps = self.question.keeps_bytes
        places = [Place(x.record.item.offset, x.record.item.line, x.record.item.raw if keeps else b"") for x in batch]
        part = self._new_part(Part(one, places=places, reading=Reading.TRUSTED))
        fd = self.files.rescue_fd
        self.files.write(fd, (piece for x in batch for piece in (x.line, b"\n")))
        longest = max(len(x.line) for x in batch)
        if longest > _LONG_FILE_BYTES:  # only when the question reads bodies: the engine must hold the line, many times
            self.connection.execute(f"SET memory_limit = '{16 * longest >> 20}MiB'")
        self._insert(self.files.paths[fd], part, f", maximum_object_size={max(longest + 1024, _LONG_FILE_BYTES)}")
        refused = self.connection.execute("SELECT _place FROM hits WHERE _part = ? AND _odd", [part]).fetchall()
        for (index,) in refused:
            item = batch[index].record.item
            account.add_damage(
                Damage(item.source, item.offset, item.line, item.length, "the engine cannot read it", item.raw[:160])
            )
        account.events += len(batch) - len(refused)
        for x in batch:
            account.mended += bool(x.record.notes)
            account.notes.update(x.record.notes)
            account.dialects[x.record.item.dialect] += 1

    # --- SQL ------------------------------------------------------------------------------------------------

    @property
    def _needs_bodies(self) -> bool:
        return bool(_BODIES & self.question.reads or self.relation.weights)

    def _new_part(self, part: Part) -> int:
        self.parts.append(part)
        return len(self.parts) - 1

    def _select(self, path: str, part: int, options: str = "") -> str:
        q = self.question
        name, reading, has_places = "", Reading.TOLERANT, False
        if self.parts:
            now = self.parts[part]
            name, reading, has_places = now.input.name, now.reading, now.places is not None
        rows = self._relation_select(path, options, reading, name)
        match = "1" if q.where == "TRUE" else f"CASE WHEN {q.where} THEN 1 WHEN {q.unknown} THEN 2 ELSE 0 END"
        names = [identifier(column) for column in q.columns]
        if self.keeps_every_row:
            names = [f"CASE WHEN ({match}) > 0 THEN {name} END AS {name}" for name in names]
        columns = "".join(f"{name}, " for name in (*names, *map(identifier, self.relation.weights)))
        lacking = " OR ".join(f"{identifier(column)} IS NULL" for column in q.filled_later)
        doubt = f"_rank < 2 AND ({lacking})" if lacking else "FALSE"
        filled = f"[{', '.join(map(identifier, q.filled_later))}]" if q.filled_later else "NULL"
        odd = f"CASE WHEN {self._is_odd()} THEN TRUE ELSE FALSE END"
        place = ", row_number() OVER () - 1 AS _n" if has_places else ", NULL AS _n"
        columns += "".join(f"{source} AS {identifier(made)}, " for made, source in q.made)
        columns += f"{AUDIT_ID}, " if q.keeps_bytes else ""
        return (
            f"SELECT {columns}({match})::TINYINT AS _match, {odd} AS _odd, "
            f"_rank::TINYINT AS _rank, {doubt} AS _doubt, _key, {filled}::VARCHAR[] AS _filled, "
            f"{part} AS _part, _n::INTEGER AS _place "
            f"FROM (SELECT {self._names()}{place} FROM ({rows})) "
            f"WHERE {'TRUE' if reading is Reading.TRUSTED else self._keep()}"
        )

    def _relation_select(self, path: str, options: str, reading: Reading, name: str = "") -> str:
        q = self.question
        return self.relation.select(
            q.reads,
            q.used,
            path,
            options,
            name,
            reading=reading,
            key=self.key,
            joined_by=q.joined_by,
            decides=q.decides,
            untested=["auditID"] if q.keeps_bytes else (),
        )

    def _names(self) -> str:
        named = every_name(self.question.used)
        more = "".join(f"{identifier(weight)}, " for weight in self.relation.weights)
        more += f"audit_id AS {AUDIT_ID}, " if self.question.keeps_bytes else ""
        return f"{named}{', ' if named else ''}{more}_odd, _odd_shown, _rank, _is_panic, _key"

    def _is_odd(self) -> str:
        """Condition for a row to be odd."""
        q = self.question
        if q.decides is None:
            return "_odd"
        asked = " OR ".join(condition for condition in (q.where, q.unknown) if condition != "FALSE")
        return f"(_odd OR (({asked or 'FALSE'}) AND _odd_shown))"

    def _keep(self) -> str:
        """Condition for a row to be kept."""
        q = self.question
        if self.keeps_every_row:
            return "TRUE"
        keep = [q.where, q.unknown, "_odd"]
        if self.key is not Key.NONE:
            keep.append("_is_panic")  # a Panic outranks a ResponseComplete, whether or not it matches
        return " OR ".join(condition for condition in keep if condition != "FALSE")

    def _insert(self, path: str, part: int, options: str) -> int:
        """Read a file into `hits`; give how many rows the engine saw."""
        now = self.parts[part]
        if now.reading is Reading.TOLERANT and now.input.is_clean_at_ends:
            now.reading = Reading.STRICT
        try:
            if now.reading is Reading.STRICT and self.relation.measures:
                self._insert_measured(path, part, options)
            else:
                self._insert_select(path, part, options)
        except engine().InvalidInputException as exc:
            if now.reading is not Reading.STRICT or _TOO_LONG in str(exc):
                raise
            now.reading = Reading.TOLERANT
            self._insert_select(path, part, options)
        return now.rows

    def _insert_either(self, path: str, part: int, options: str) -> int:
        """Read a file with small buffers, so that the engine's threads end together, or with the usual ones."""
        try:
            return self._insert(path, part, options + _IN_PLACE)
        except engine().InvalidInputException as exc:
            if _TOO_LONG not in str(exc):
                raise
            return self._insert(path, part, options)

    def _insert_select(self, path: str, part: int, options: str) -> None:
        self._fill(self._select(path, part, options))
        self.parts[part].rows = rows_read(self.connection)

    def _insert_measured(self, path: str, part: int, options: str) -> None:
        """Read a file into `hits`, and what its lines take into `lengths`; tolerantly where the two do not agree."""
        with Measure(path, self.files.lengths_fd) as self.measure:
            self._insert_select(path, part, options)
            if not self.measure.keep(self.connection, part, self.parts[part].rows):
                self.connection.execute(f"DELETE FROM hits WHERE _part = {part}")
                self.parts[part].reading = Reading.TOLERANT
                self._insert_select(path, part, options)

    def kept_ordinals(self, part: int, path: str) -> list[int]:
        """Give the numbers of the lines that gave the rows of a part, in order."""
        return self._ordinals(part, path, self._keep())

    def kept_ids(self, part: int, lines: Sequence[bytes]) -> list[tuple[int, str]]:
        """Give which of these lines of a part gave rows that are not odd, in order, each with its auditID."""
        fd = self.files.rescue_fd
        self.files.write(fd, (piece for line in lines for piece in (line, b"\n")))
        # the engine sets buffers of this size aside for each thread: small ones for small lines
        options = f", maximum_object_size={max(2 * max(map(len, lines)), 1 << 20)}"
        condition = f"({self._keep()}) AND ({self._is_odd()}) IS NOT TRUE"
        return self._numbered(part, self.files.paths[fd], condition, options, more=f", {AUDIT_ID}")

    def _ordinals(self, part: int, path: str, condition: str) -> list[int]:
        """Give the numbers of lines for which the condition holds, as the engine counts: blank lines have none."""
        now = self.parts[part]
        options = _unpacking(now.input) if now.lines is None else _BLOCK_OPTIONS
        return [n for (n,) in self._numbered(part, path, condition, options)]

    def _numbered(self, part: int, path: str, condition: str, options: str, more: str = "") -> list[tuple[Any, ...]]:
        now = self.parts[part]
        rows = self._relation_select(path, options, now.reading)
        sql = f"SELECT row_number() OVER () - 1 AS n, * FROM (SELECT {self._names()} FROM ({rows}))"
        try:
            return self.connection.cursor().execute(f"SELECT n{more} FROM ({sql}) WHERE {condition}").fetchall()
        except engine().InvalidInputException:
            if now.reading is not Reading.STRICT:
                raise
            now.reading = Reading.TOLERANT  # the file grew, and its last line is not whole yet
            return self._numbered(part, path, condition, options, more)

    def _number(self, sql: str, *values: object) -> int:
        row = self.connection.execute(sql, list(values)).fetchone()
        return int(row[0]) if row else 0


class _SpreadOverLinesError(Exception):
    """A value begins on a line of its own and goes on over lines that the engine took for rows."""


def _unpacking(one: Input) -> str:
    return ", compression='zstd'" if one.compression is Compression.ZSTD else ""


def _torn(one: Input, offset: int, reason: str) -> Damage:
    return Damage(one.name, offset, 0, 0, reason, b"", DamageKind.TORN)


def _counted(found: "Iterable[Rescued | Damage]", account: FileAccount) -> "Iterator[Rescued | Damage]":
    for x in found:
        account.lines += 1
        yield x
