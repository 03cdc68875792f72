"""An engine that opens the files of its question and no others, however it was made."""

from pathlib import Path

import pytest

from kubewitness.look.query import lockdown


def test_an_engine_made_ahead_is_used_once(tmp_path: Path) -> None:
    """It is locked down as any other, and the next who asks gets one of its own."""
    path = tmp_path / "other.log"
    path.write_bytes(b"{}\n")
    lockdown.begin()
    lockdown.begin()
    first, second = lockdown.locked(["/dev/null"]), lockdown.locked(["/dev/null"])
    assert first is not second
    for connection in (first, second):
        with pytest.raises(lockdown.engine_errors(), match="disabled by configuration"):
            connection.execute(f"FROM read_ndjson('{path}')")
        connection.close()
