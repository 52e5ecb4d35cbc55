"""In CI everything runs, so a skip is a failure (fixtures are in tests/conftest.py)."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

MAY_SKIP = "container"
"""The one marker whose tests may skip in CI: a Docker engine is not part of what CI installs."""

_IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    expected = hasattr(report, "wasxfail") or item.get_closest_marker(MAY_SKIP) is not None
    if _IN_CI and report.skipped and not expected:
        report.outcome = "failed"
        report.longrepr = f"skipped, but CI has everything that tests need: {report.longreprtext}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if _IN_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = (
            f"a module skips itself, but CI has everything that tests need: {report.longrepr}"
        )
    return report


# A background job of a shell that has no job control ignores SIGINT, and so would every process that a test starts
# and interrupts: a handler here gives them the usual disposition back.
signal.signal(signal.SIGINT, signal.default_int_handler)
