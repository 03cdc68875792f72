"""Garbage is collected: the young soon, the old now and then."""

import gc
import weakref

from kubewitness.assembly.collector import ALL_SECONDS, YOUNG_SECONDS, Collector


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_circles_go() -> None:
    """A circle that was let go is gone at the next look; one that was set aside before, at the next look at all."""
    now = [0.0]
    collector = Collector(lambda: now[0])
    try:
        assert not gc.isenabled()
        ring = Ring()
        young = weakref.ref(ring)
        del ring
        collector.step()
        assert young() is not None
        now[0] += YOUNG_SECONDS
        collector.step()
        assert young() is None
        kept = Ring()
        old = weakref.ref(kept)
        now[0] += YOUNG_SECONDS
        collector.step()
        del kept
        now[0] += YOUNG_SECONDS
        collector.step()
        assert old() is not None
        now[0] += ALL_SECONDS
        collector.step()
        assert old() is None
    finally:
        collector.close()
    assert gc.isenabled()
