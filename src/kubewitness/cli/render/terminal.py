"""How wide the terminal is; shutil says the same, and would load what packs files."""

import os
import sys

DEFAULT_WIDTH = 80


def terminal_width() -> int:
    """Give COLUMNS, else the width of the terminal, else 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or DEFAULT_WIDTH  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # there is none, or it is closed
        return DEFAULT_WIDTH
