"""The recorded answers of the real loader and evaluator."""

import functools
import json
from pathlib import Path
from typing import Any

import zstandard

from kubewitness.policy.types import Attributes

DATA = Path(__file__).parent.parent / "data"


@functools.cache
def vectors(name: str) -> list[dict[str, Any]]:
    """Give the lines of one vector file; split at line feeds only, strings hold other line ends."""
    packed = (DATA / "vectors" / f"{name}.ndjson.zst").read_bytes()
    text = zstandard.ZstdDecompressor().decompressobj().decompress(packed).decode()
    return [json.loads(line) for line in text.split("\n") if line]


def attributes(attrs: dict[str, Any]) -> Attributes:
    """Make Attributes of a vector's request."""
    groups = attrs["groups"]
    return Attributes(
        verb=attrs["verb"],
        user=attrs["user"],
        groups=None if groups is None else tuple(groups),
        namespace=attrs["namespace"],
        api_group=attrs["apiGroup"],
        api_version=attrs["apiVersion"],
        resource=attrs["resource"],
        subresource=attrs["subresource"],
        name=attrs["name"],
        resource_request=attrs["resourceRequest"],
        path=attrs["path"],
    )
