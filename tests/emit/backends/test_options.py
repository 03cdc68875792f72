"""Flags: values read, defaults by version, refusals word for word."""

from pathlib import Path

import pytest

from kubewitness.emit.backends import options
from kubewitness.emit.backends.flagvalues import FlagError, read_value
from kubewitness.emit.backends.options import FLAGS, Rotation, check, parse, rotation

MIB = 1024 * 1024
LOG = "--audit-log-path=/var/log/audit.log"
HOOK = "--audit-webhook-config-file=/hook.yaml"


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (
            [LOG, "--audit-log-mode=async"],
            'invalid audit log mode async, allowed modes are "batch,blocking,blocking-strict"',
        ),
        ([LOG, "--audit-log-format=text"], 'invalid audit log format text, allowed formats are "legacy,json"'),
        ([LOG, "--audit-log-maxage=-1"], "--audit-log-maxage -1 can't be a negative number"),
        ([LOG, "--audit-log-maxbackup=-2"], "--audit-log-maxbackup -2 can't be a negative number"),
        ([LOG, "--audit-log-maxsize=-3"], "--audit-log-maxsize -3 can't be a negative number"),
        (
            [LOG, "--audit-log-version=audit.k8s.io/v1beta1"],
            'invalid group version, allowed versions are ["audit.k8s.io/v1"]',
        ),
        ([HOOK, "--audit-webhook-version=v1"], 'invalid group version, allowed versions are ["audit.k8s.io/v1"]'),
        (
            [LOG, "--audit-log-truncate-max-batch-size=100", "--audit-log-truncate-max-event-size=200"],
            "invalid audit truncate log max batch size 100, must be greater than max event size (200)",
        ),
        (
            [LOG, "--audit-log-truncate-max-event-size=0"],
            "invalid audit truncate log max event size 0, must be a positive number",
        ),
        (
            [LOG, "--audit-log-mode=batch", "--audit-log-batch-buffer-size=0"],
            "invalid audit batch log buffer size 0, must be a positive number",
        ),
        (
            [HOOK, "--audit-webhook-batch-max-size=0"],
            "invalid audit batch webhook max batch size 0, must be a positive number",
        ),
        (
            [HOOK, "--audit-webhook-batch-throttle-qps=-0.5"],
            "invalid audit batch webhook throttle QPS -0.5, must be a positive number",
        ),
        (
            [HOOK, "--audit-webhook-batch-throttle-burst=0"],
            "invalid audit batch webhook throttle burst 0, must be a positive number",
        ),
        (
            [LOG, "--audit-log-mode=batch", "--audit-log-batch-throttle-enable"],
            "invalid audit batch log throttle QPS 0, must be a positive number",
        ),
    ],
)
def test_refusals(flags: list[str], refusal: str) -> None:
    """A server with these flags does not start, and says just this."""
    assert check(parse(flags)) == [refusal]


@pytest.mark.parametrize(
    "flags",
    [
        [],
        [LOG],
        [HOOK],
        ["--audit-log-mode=async", "--audit-log-maxage=-1", "--audit-webhook-mode=async"],
        [LOG, "--audit-log-batch-buffer-size=0"],
        [LOG, "--audit-webhook-mode=async"],
        [HOOK, "--audit-webhook-batch-throttle-enable=false", "--audit-webhook-batch-throttle-qps=0"],
        [LOG, "--audit-log-truncate-max-batch-size=200", "--audit-log-truncate-max-event-size=200"],
        [LOG, "--audit-log-maxage=0", "--audit-log-maxbackup=0", "--audit-log-maxsize=0"],
    ],
)
def test_what_is_not_refused(flags: list[str]) -> None:
    """Backends that are off, and flags that another one makes idle, are not checked."""
    assert check(parse(flags)) == []


def test_several_refusals_stand_in_the_servers_order() -> None:
    """The log before the webhook; of the batch flags only the first."""
    flags = [LOG, HOOK, "--audit-log-maxage=-1", "--audit-log-format=x", "--audit-webhook-mode=y"]
    batch = ["--audit-log-mode=batch", "--audit-log-batch-buffer-size=0", "--audit-log-batch-max-size=0"]
    assert check(parse([*flags, *batch])) == [
        "invalid audit batch log buffer size 0, must be a positive number",
        'invalid audit log format x, allowed formats are "legacy,json"',
        "--audit-log-maxage -1 can't be a negative number",
        'invalid audit webhook mode y, allowed modes are "batch,blocking,blocking-strict"',
    ]


def test_defaults() -> None:
    """The defaults are those of the table measured on the binary."""
    assert {flag.name.removeprefix("audit-"): flag.default for flag in FLAGS} == {
        "policy-file": "",
        "log-path": "",
        "log-format": "json",
        "log-maxage": "366",
        "log-maxbackup": "100",
        "log-maxsize": "100",
        "log-compress": "false",
        "log-version": "audit.k8s.io/v1",
        "log-mode": "blocking",
        "log-batch-buffer-size": "10000",
        "log-batch-max-size": "1",
        "log-batch-max-wait": "0s",
        "log-batch-throttle-enable": "false",
        "log-batch-throttle-qps": "0",
        "log-batch-throttle-burst": "0",
        "log-truncate-enabled": "false",
        "log-truncate-max-event-size": "102400",
        "log-truncate-max-batch-size": "10485760",
        "webhook-config-file": "",
        "webhook-initial-backoff": "10s",
        "webhook-version": "audit.k8s.io/v1",
        "webhook-mode": "batch",
        "webhook-batch-buffer-size": "10000",
        "webhook-batch-max-size": "400",
        "webhook-batch-max-wait": "30s",
        "webhook-batch-throttle-enable": "true",
        "webhook-batch-throttle-qps": "10",
        "webhook-batch-throttle-burst": "15",
        "webhook-truncate-enabled": "false",
        "webhook-truncate-max-event-size": "102400",
        "webhook-truncate-max-batch-size": "10485760",
    }


@pytest.mark.parametrize(
    ("version", "flags", "expected"),
    [
        ("1.36", [], Rotation(100 * MIB, 100, 366)),
        ("v1.36.2", ["--audit-log-maxsize=0", "--audit-log-compress"], Rotation(None)),
        ("1.35", [], Rotation(100 * MIB)),
        ("1.29", ["--audit-log-maxsize=7", "--audit-log-maxage=30"], Rotation(7 * MIB, 0, 30)),
        (
            "2.0",
            ["--audit-log-compress=true", "--audit-log-maxbackup=3"],
            Rotation(100 * MIB, 3, 366, is_compressed=True),
        ),
    ],
)
def test_rotation_by_version(version: str, flags: list[str], expected: Rotation) -> None:
    """Before 1.36 no flag means no pruning, and maxsize 0 means 100 MiB."""
    assert rotation(parse([LOG, *flags], version)) == expected


def test_ways_of_writing_flags() -> None:
    """With equals or without, underscores, a bare switch, an alias; the last counts; others are passed over."""
    values = parse(
        ["kube-apiserver", "--etcd-servers", "--audit-log-path", "/a", "--audit-log-path=/b", "--audit_log_maxage=7",
         "--audit-log-compress", "--audit-webhook-batch-initial-backoff=1m30s", "--v=2", "audit-log-mode"]
    )  # fmt: skip
    assert values.text("audit-log-path") == "/b"
    assert values.number("audit-log-maxage") == 7
    assert values.is_on("audit-log-compress")
    assert values.number("audit-webhook-initial-backoff") == 90_000_000_000
    assert values.given == {"audit-log-path", "audit-log-maxage", "audit-log-compress", "audit-webhook-initial-backoff"}


@pytest.mark.parametrize(
    ("flags", "refusal"),
    [
        (["--audit-log-size=1"], "unknown flag: --audit-log-size"),
        (["--audit-log-path"], "flag needs an argument: --audit-log-path"),
        (
            ["--audit-log-maxage=a day"],
            'invalid argument "a day" for "--audit-log-maxage" flag: strconv.ParseInt: parsing "a day": invalid syntax',
        ),
        (
            ["--audit-log-compress=yes"],
            'invalid argument "yes" for "--audit-log-compress" flag: strconv.ParseBool: parsing "yes": invalid syntax',
        ),
        (
            ["--audit-webhook-batch-max-wait=30"],
            'invalid argument "30" for "--audit-webhook-batch-max-wait" flag: time: missing unit in duration "30"',
        ),
    ],
)
def test_flags_that_cannot_be_read(flags: list[str], refusal: str) -> None:
    """The words are pflag's."""
    with pytest.raises(FlagError) as refused:
        parse(flags)
    assert str(refused.value) == refusal


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("int", "-12", -12),
        ("int", "0x1F", 31),
        ("int", "010", 8),
        ("int", "1_000", 1000),
        ("int", "0", 0),
        ("int", "9223372036854775807", 2**63 - 1),
        ("bool", "T", True),
        ("bool", "0", False),
        ("float32", "1e2", 100.0),
        ("float32", ".5", 0.5),
        ("string", "", ""),
        ("duration", "0", 0),
        ("duration", "1h2m3.5s", 3_723_500_000_000),
        ("duration", "-1.5ms", -1_500_000),
        ("duration", "+100ns", 100),
        ("duration", "1µs", 1_000),
        ("duration", ".5s", 500_000_000),
    ],
)
def test_values(kind: str, text: str, value: object) -> None:
    """Values are read as Go reads them; durations are nanoseconds."""
    assert read_value(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("int", "", 'strconv.ParseInt: parsing "": invalid syntax'),
        ("int", "1__0", 'strconv.ParseInt: parsing "1__0": invalid syntax'),
        ("int", "09", 'strconv.ParseInt: parsing "09": invalid syntax'),
        ("int", "9223372036854775808", 'strconv.ParseInt: parsing "9223372036854775808": value out of range'),
        ("float32", "x", 'strconv.ParseFloat: parsing "x": invalid syntax'),
        ("float32", "1e39", 'strconv.ParseFloat: parsing "1e39": value out of range'),
        ("duration", "", 'time: invalid duration ""'),
        ("duration", "-", 'time: invalid duration "-"'),
        ("duration", ".s", 'time: invalid duration ".s"'),
        ("duration", "3x", 'time: unknown unit "x" in duration "3x"'),
        ("duration", "1s2", 'time: missing unit in duration "1s2"'),
        ("duration", "9999999h", 'time: invalid duration "9999999h"'),
    ],
)
def test_values_that_cannot_be_read(kind: str, text: str, reason: str) -> None:
    """Each is refused with Go's reason."""
    with pytest.raises(ValueError, match=r".") as refused:
        read_value(kind, text)
    assert str(refused.value) == reason


def test_every_default_can_be_read() -> None:
    """The defaults are values of their types, for old servers too."""
    for version in ("1.20", "1.36"):
        for flag in FLAGS:
            read_value(flag.kind, flag.default_of(version))


def test_a_version_that_is_none() -> None:
    """A server version is two numbers."""
    with pytest.raises(FlagError, match=r"server version 'latest': expected one such as 1\.36"):
        parse([], "latest")


def test_the_documentation_shows_the_flags() -> None:
    """docs/reference/emit-flags.md holds the table as the code has it."""
    page = Path(__file__).parents[3] / "docs/reference/emit-flags.md"
    assert f"\n{options.reference()}\n" in page.read_text()
    assert f"\n{options.extensions()}\n" in page.read_text()
