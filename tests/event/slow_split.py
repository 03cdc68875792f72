"""A slow twin of `event.split` for objects outside lists: one byte at a time, the rules said plainly."""

WHITE = b" \t\r\n"
PLAIN = b" \t\r\n,:-+.0123456789Etruefalsn"


def slow_split(data: bytes) -> list[tuple[str, int, int]]:
    """Give ("item" | "damage", start, end) for input without `[` and without a byte order mark."""
    out: list[tuple[str, int, int]] = []
    at = 0
    while at < len(data):
        if data[at] in WHITE:
            at += 1
        elif data[at] == ord("{"):
            kind, end, at = _object(data, at)
            out.append((kind, at if end is None else end[0], end[1] if end else at))
        else:
            end_of_line = _line_end(data, at)
            out.append(("damage", at, end_of_line))
            at = end_of_line
    return out


def _line_end(data: bytes, at: int) -> int:
    found = data.find(b"\n", at)
    return len(data) if found < 0 else found


def _object(data: bytes, start: int) -> tuple[str, tuple[int, int], int]:
    depth, in_string, at = 0, False, start
    while at < len(data):
        byte = data[at]
        if in_string:
            if byte == ord("\n"):
                return "damage", (start, at), at
            if byte == ord("\\"):
                if data[at + 1 : at + 2] == b"\n":
                    return "damage", (start, at + 1), at + 1
                at += 1
            elif byte == ord('"'):
                in_string = False
        elif byte == ord('"'):
            in_string = True
        elif byte == ord("{"):
            if depth and data[at - 1 : at] == b"\n":
                return "damage", (start, start + len(data[start:at].rstrip(WHITE))), at
            depth += 1
        elif byte in b"}]":
            depth -= 1
            if depth == 0:
                return "item", (start, at + 1), at + 1
        elif byte not in PLAIN:
            line_start = data.rfind(b"\n", 0, at) + 1
            if line_start > start and not data[line_start:at].strip(WHITE):
                return "damage", (start, start + len(data[start:line_start].rstrip(WHITE))), line_start
            end = _line_end(data, at)
            return "damage", (start, end), end
        at += 1
    return "damage", (start, len(data)), len(data)
