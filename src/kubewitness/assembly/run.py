"""Run a service as the main part of a process: signals, limits of the process, and its end."""

import asyncio
import contextlib
import os
import resource
import signal
import stat
import sys
from pathlib import Path

from kubewitness.assembly.config import Config
from kubewitness.assembly.jsonlog import JsonLog
from kubewitness.assembly.service import Service
from kubewitness.assembly.yamlnodes import ConfigError

_FAILED = 5


def run_service(config: Config, log: JsonLog) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code. Raises ConfigError, StoreError, OSError."""
    prepare_process()
    check_directory(config.data)
    check_directory(config.keys)
    code = asyncio.run(_run(config, log))
    if code:
        # a thread that waits for a disk that hangs would keep us for ever
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def prepare_process() -> None:
    """Let nobody else read what is written or dumped, and have as many descriptors as may be."""
    os.umask(0o077)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def check_directory(path: Path) -> None:
    """Refuse a directory that others may change. Raises ConfigError."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise ConfigError(f"{path}: it is a link; name the directory itself")
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{path}: not a directory")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{path}: others may write to it; chmod go-w {path}")


async def _run(config: Config, log: JsonLog) -> int:
    service = Service(config, log)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, service.reload)
    loop.set_exception_handler(lambda _, context: _unexpected(log, context))
    try:
        await service.start()
    except BaseException:
        await service.stop()
        raise
    await ended.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(number)  # a second one ends it at once
    return 0 if await service.stop() else _FAILED


def _unexpected(log: JsonLog, context: dict[str, object]) -> None:
    error = context.get("exception")
    log.error("unexpected", what=str(context.get("message", "")), error=type(error).__name__)
