"""Compare what a configuration says with the kube-apiserver that runs, and with the files it holds open."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from kubewitness.apiserver.check import Report
from kubewitness.apiserver.findings import CODES, SetupFinding
from kubewitness.apiserver.hostfiles import Process
from kubewitness.apiserver.readers import read_setup
from kubewitness.apiserver.setup import Form


def compare(report: Report, processes: Sequence[Process]) -> Report:
    """Add to a report what the running server does otherwise."""
    more = [finding for process in processes for finding in _otherwise(report, process)]
    return replace(report, findings=(*report.findings, *more)) if more else report


def _otherwise(report: Report, process: Process) -> Iterator[SetupFinding]:
    setup = report.setup
    running = read_setup(process.command, f"/proc/{process.pid}/cmdline")
    names = sorted({flag.name for flag in (*setup.flags, *running.flags) if flag.name.startswith("audit-")})
    for name in names if setup.form is not Form.PS else ():
        here, there = setup.flag(name), running.flag(name)
        said = None if here is None else here.value
        runs = None if there is None else there.value
        if said != runs:
            message = (
                f"process {process.pid} runs with {_flag(name, runs)}, this says {_flag(name, said)}:"
                " it was started before this was written, or from something else"
            )
            yield _finding(report, name, message)
    log = running.flag("audit-log-path")
    if log is not None and log.value in process.deleted:
        message = (
            f"process {process.pid} writes to {log.value}, which was deleted or moved away: what it writes is lost"
            f" when it stops; what is still there can be read from /proc/{process.pid}/fd"
        )
        yield _finding(report, "audit-log-path", message)


def _flag(name: str, value: str | None) -> str:
    return f"no --{name}" if value is None else f"--{name}={value}"


def _finding(report: Report, name: str, message: str) -> SetupFinding:
    line, column = report.setup.place(name)
    return SetupFinding(
        "KW640", CODES["KW640"].severity, report.setup.file, line, column, message, "restart the server"
    )
