"""
The program itself: begin what takes longest, then load the rest.

What the words of a command make certain or likely (`ahead`) is begun before anything else is loaded, `typing` included.
"""

import sys

_INTERRUPTED = 130


def main() -> int:
    """Run the command that was typed; give its exit code."""
    try:
        from kubewitness.cli.held import hold

        hold()  # first: a thread of the engine that could take a Ctrl-C would let it into the loading
        from kubewitness.cli import ahead

        ahead.begin(sys.argv[1:])
        from kubewitness.cli.main import main as run
    except KeyboardInterrupt:  # a Ctrl-C that comes as early as this ends as one that comes later
        return _INTERRUPTED
    return run()
