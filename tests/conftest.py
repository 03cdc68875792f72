"""What all tests share: how long Hypothesis looks, and that `make ci` accepts no skip."""

import os

import pytest
from hypothesis import HealthCheck, settings

# no deadline: the machine may be busy, and speed is what benchmarks/ measures
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.register_profile("soak", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))

_ACCEPTS_SKIPS = os.environ.get("KUBEWITNESS_NO_SKIP") != "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if report.skipped and not _ACCEPTS_SKIPS and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, which `make ci` does not accept: {report.longrepr}"
    return report
