"""CI cannot be green because something was missing."""

from __future__ import annotations

import pytest

from tests.house.sources import ROOT

pytest_plugins = ["pytester"]

SKIPS = """
import pytest

def test_skips():
    pytest.skip("no server")

@pytest.mark.container
def test_needs_docker():
    pytest.skip("no engine")

@pytest.mark.xfail(reason="known")
def test_known():
    assert False
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((ROOT / "conftest.py").read_text("utf-8"))
    pytester.makeini(
        "[pytest]\nmarkers = container: needs Docker\nasyncio_default_fixture_loop_scope = function"
    )
    pytester.makepyfile(SKIPS)
    return pytester


def test_a_skip_fails_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*CI has everything that tests need*no server*"])


def test_a_skip_is_a_skip_elsewhere(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    suite.runpytest_inprocess().assert_outcomes(skipped=2, xfailed=1)


def test_a_module_that_skips_itself_fails_in_ci(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    suite.makepyfile('import pytest\npytest.skip("no module", allow_module_level=True)')
    suite.runpytest_inprocess().assert_outcomes(errors=1)
