"""What a command may end with: the exit codes of the design, and the error that a user is told about."""

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of every command but `jq`, which keeps jq's own."""

    OK = 0
    FINDINGS = 1
    USAGE = 2
    INTEGRITY = 3
    INCOMPLETE = 4
    RUNTIME = 5


class UserError(Exception):
    """Something the user can mend; printed as one line on standard error, never as a traceback."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.exit_code = exit_code
