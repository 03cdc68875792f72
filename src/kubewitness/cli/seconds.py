"""A number of seconds on the command line: finite, and not negative."""

import argparse
import math


def seconds(text: str) -> float:
    """Read a number of seconds. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return number
