"""A small honest API server on the ASGI door, which real kubectl talks to: `from tests.toyapi import running`."""

from tests.toyapi.process import Running, running

__all__ = ["Running", "running"]
