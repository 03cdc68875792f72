"""
A `kubewitness` for PATH that need not import itself each time: it asks one process that has, which forks.

What a command is given is the same: its arguments, directory, environment, standard streams, signals and exit code.
That the installed program starts by itself is tried elsewhere (README, demo, the wheel).
"""

import array
import contextlib
import importlib
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("kubewitness.cli", "kubewitness.event", "kubewitness.look", "kubewitness.policy")
LIBRARIES = ("argparse", "duckdb", "msgspec", "textwrap", "yaml", "zstandard")
PROGRAM = """\
#!{python} -IS
import _socket, array, os, signal, sys
ours = _socket.socket(1, 1)
ours.connect({place!r})
told = "\\0".join(["\\1".join(sys.argv[1:]), os.getcwd(), "\\1".join(f"{{k}}={{v}}" for k, v in os.environ.items())])
message = told.encode("utf-8", "surrogateescape")
ours.sendmsg([b"%10d" % len(message)], [(1, 1, array.array("i", [0, 1, 2]))])
while message:
    message = message[ours.send(message):]
pid = int(ours.recv(10))
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
code = int(ours.recv(10) or 125)
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def forking(directory: Path) -> Iterator[Path]:
    """Give a directory with such a program, as long as the process behind it runs."""
    place = directory / "socket"
    program = directory / "kubewitness"
    program.write_text(PROGRAM.format(python=sys.executable, place=str(place)))
    program.chmod(0o755)
    command = [sys.executable, "-m", "tests.forked", str(place)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield directory
        finally:
            process.kill()


def serve(place: str) -> None:
    """Import what commands need, then fork for each that connects."""
    for name in (*LIBRARIES, *ROOMS):
        module = importlib.import_module(name)
        if name in ROOMS:
            for found in pkgutil.walk_packages(module.__path__, f"{name}."):
                importlib.import_module(found.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place)
    listening.listen(32)
    os.write(1, b"ready\n")
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            attend(connection)
        connection.close()


def attend(connection: socket.socket) -> None:
    """Run one command in a process of its own, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, ancillary, _, _ = connection.recvmsg(10, socket.CMSG_LEN(12))
    streams = array.array("i", ancillary[0][2])
    data = b""
    while len(data) < int(size):
        data += connection.recv(1 << 16)
    arguments, directory, environment = data.decode("utf-8", "surrogateescape").split("\0")
    command = os.fork()
    if command == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(pair.split("=", 1) for pair in environment.split("\1"))
        run(arguments.split("\1") if arguments else [])
    for stream in (0, 1, 2, *streams):
        os.close(stream)  # who reads a pipe of the command sees its end
    connection.send(b"%10d" % command)
    _, status = os.waitpid(command, 0)
    connection.send(b"%10d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run(arguments: list[str]) -> None:
    """Do what the installed program does."""
    from kubewitness.cli.main import main

    sys.argv = ["kubewitness", *arguments]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    code = 120
    try:
        code = main()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
