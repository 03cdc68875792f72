"""Regular expressions that are compiled when they are first used: a start pays only for those that it needs."""

import functools
import re
from collections.abc import Callable


def pattern(text: str, flags: int = 0) -> Callable[[], re.Pattern[str]]:
    """Give a function that gives the compiled expression."""

    @functools.cache
    def compiled() -> re.Pattern[str]:
        return re.compile(text, flags)

    return compiled
