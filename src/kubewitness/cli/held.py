"""
Hold Ctrl-C back while the program loads.

An interruption in the middle of loading has nothing to stop, and can do harm: msgspec 0.22 that is making a decoder
dies of it with a segmentation fault. What comes meanwhile is not lost: it interrupts as soon as the command begins.

Done before anything else, so by what `signal` is made of: that module loads `enum` first, which takes six milliseconds.
"""

import _signal as signal  # type: ignore[import-not-found,unused-ignore]

_held: list[bool] = []


def hold() -> None:
    """Let no Ctrl-C through, for the program itself; threads and processes made from now on get none either."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    _held.append(True)


def release() -> None:
    """Let Ctrl-C through again, if it was held. Raises KeyboardInterrupt for one that has come."""
    if _held:
        _held.clear()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
