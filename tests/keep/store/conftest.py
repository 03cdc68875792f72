"""Tools from outside that tests of the store use."""

import os
import shutil

import pytest


@pytest.fixture
def zstd() -> str:
    """The zstd program; without it the test is skipped by name, or fails where nothing may be skipped."""
    found = shutil.which("zstd")
    if found is None and not os.environ.get("KUBEWITNESS_NO_SKIP"):
        pytest.skip("zstd is not installed")
    assert found is not None, "zstd is not installed"
    return found
