"""
The program itself: begin what takes longest, then load the rest.

What the words of a command make certain or likely (`ahead`) is begun before anything else is loaded, `typing` included.
"""

import sys


def main() -> int:
    """Run the command that was typed; give its exit code."""
    from kubewitness.cli import ahead

    ahead.begin(sys.argv[1:])
    from kubewitness.cli.main import main as run

    return run()
