"""What runs at a code host has few rights, runs what was read, and tests what is promised; a breach is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.house import workflows
from tests.house.distribution import METADATA
from tests.house.sources import ROOT

CI, RELEASE, DEPENDABOT, PYPROJECT = (
    (ROOT / name).read_text("utf-8")
    for name in (
        ".github/workflows/ci.yml",
        ".github/workflows/release.yml",
        ".github/dependabot.yml",
        "pyproject.toml",
    )
)
SCRIPTS = sorted(
    one for one in (ROOT / ".ci").iterdir() if one.suffix != ".py"
)  # hatchling reads that
Rule = Callable[[str], list[str]]
OF_ALL: tuple[Rule, ...] = (
    workflows.pins,
    workflows.rights,
    workflows.tokens_left_behind,
    workflows.unlimited,
    workflows.injection,
    workflows.events,
)
of_promises = partial(workflows.matrix, CI)
of_tests = partial(workflows.matrix, pyproject=PYPROJECT)

BREACHES: list[tuple[Rule, str, str, str, str]] = [
    (workflows.pins, CI, r"checkout@[0-9a-f]{40}", "checkout@v7", "@v7 is not pinned"),
    (workflows.pins, CI, r"checkout@[0-9a-f]{38}", "checkout@", "is not pinned"),
    (workflows.pins, CI, r" # v\d+\.\d+\.\d+", "", "does not say its version"),
    (workflows.pins, RELEASE, r"pypi-publish@[0-9a-f]{40} # v[\d.]+", "pypi-publish@release/v1", "not pinned"),
    (workflows.pins, RELEASE, r"uses: \$/", "uses: ./", "is not pinned"),
    (workflows.rights, CI, r"^permissions: {}$", "permissions: read-all", "rights for all"),
    (workflows.rights, CI, r"^permissions: {}$", "", "rights for all"),
    (workflows.rights, CI, r"contents: read", "contents: write", "tests may contents: write"),
    (workflows.rights, CI, r"^    permissions:\n      contents: read\n", "", "tests does not say"),
    (workflows.rights, RELEASE, r"contents: read", "id-token: write", "tag may id-token: write"),
    (workflows.rights, RELEASE, r"id-token: write", "contents: write", "publish may contents"),
    (workflows.tokens_left_behind, CI, r"persist-credentials: false", "fetch-depth: 0", "tests keeps"),
    (workflows.tokens_left_behind, RELEASE, r"persist-credentials: false", "persist-credentials: true", "tag"),
    (workflows.unlimited, CI, r"^    timeout-minutes: \d+\n", "", "tests has no timeout"),
    (workflows.injection, RELEASE, r"\$TAG is|\$TAG,", "${{ github.ref_name }},", "ref_name"),
    (workflows.injection, CI, r"run: \.ci/run", "run: .ci/run ${{ github.head_ref }}", "head_ref"),
    (workflows.events, CI, r"pull_request:", "pull_request_target:", "pull_request_target"),
    (workflows.gate, CI, r"needs: \[tests, package\]", "needs: [tests]", "does not need package"),
    (workflows.gate, CI, r"    if: always\(\)\n", "", "is skipped"),
    (workflows.gate, CI, r"^  all-green:", "  green:", "no all-green"),
    (workflows.gate, CI, r"- run: \.ci/run", "- run: .ci/run\n        continue-on-error: true", "may fail"),
    (of_tests, CI, r'"3\.12", ', "", "3.12 is promised, and not tested"),
    (of_tests, CI, r'"3\.12", ', '"3.12", "3.99", ', "3.99 is tested, and not promised"),
    (of_promises, PYPROJECT, r'^    "Programming Language :: Python :: 3\.12",\n', "", "3.12 is tested, and"),
    (workflows.publisher, RELEASE, r"name: pypi$", "name: other", "not in the environment"),
    (workflows.publisher, RELEASE, r"needs: ci", "needs: tag", "does not wait for CI"),
    (workflows.publisher, RELEASE, r"^    needs: tag\n", "", "the tag is not compared"),
    (workflows.publisher, RELEASE, r"(uses: pypa)", r"run: .ci/package\n      - \1", "runs .ci/package"),
    (workflows.publisher, RELEASE, r"actions/download-artifact", "actions/checkout", "has a checkout"),
    (workflows.publisher, RELEASE, r"\Z", "        with: {password: x}\n", "has a password"),
    (workflows.updates, DEPENDABOT, r"ecosystem: uv", "ecosystem: pip", "nobody updates uv in /"),
    (workflows.updates, DEPENDABOT, r"ecosystem: github-actions", "ecosystem: npm", "github-actions"),
    (workflows.updates, DEPENDABOT, r"weekly", "monthly", "github-actions is not weekly"),
    (workflows.updates, DEPENDABOT, r"    groups:\n      actions:\n.*\n", "", "comes one by one"),
]  # fmt: skip


@pytest.mark.parametrize("path", workflows.WORKFLOWS, ids=lambda path: path.name)
@pytest.mark.parametrize("rule", OF_ALL, ids=lambda rule: rule.__name__)
def test_every_workflow_keeps_the_rule(rule: Rule, path: Path) -> None:
    assert rule(path.read_text("utf-8")) == []


def test_one_job_says_whether_all_is_green() -> None:
    assert workflows.gate(CI) == []


def test_every_python_that_is_promised_is_tested_and_no_other() -> None:
    assert workflows.matrix(CI, PYPROJECT) == []


def test_where_the_right_to_publish_is_nothing_of_ours_runs() -> None:
    assert workflows.publisher(RELEASE) == []


def test_everything_that_is_pinned_is_kept_up_to_date() -> None:
    assert workflows.updates(DEPENDABOT) == []


@pytest.mark.parametrize(("rule", "text", "old", "new", "said"), BREACHES)
def test_a_breach_is_found(rule: Rule, text: str, old: str, new: str, said: str) -> None:
    planted, count = re.subn(old, new, text, count=1, flags=re.MULTILINE)
    assert count == 1
    assert rule(text) == []
    assert any(said in one for one in rule(planted)), rule(planted)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_that_ci_calls_is_one(script: Path) -> None:
    assert os.access(script, os.X_OK)
    done = subprocess.run(
        ("bash", "-n", script), capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def shell(command: str, **values: str) -> int:
    """What a step's command ends with, run as the code host runs it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ("bash", "-e", "-c", command),
        cwd=ROOT,
        env={"PATH": path, **values},
        capture_output=True,
        timeout=30,
        check=False,
    )
    return done.returncode


@pytest.mark.parametrize(
    ("tag", "passes"),
    [
        (f"v{METADATA['version']}", True),
        (METADATA["version"], False),
        (f"v{METADATA['version']}.1", False),
        ("v9.9.9", False),
        ("v*", False),
    ],
)
def test_only_a_tag_that_is_the_version_is_published(tag: str, *, passes: bool) -> None:
    [command] = [step["run"] for job, step in workflows.steps(RELEASE) if job == "tag" and "run" in step]  # fmt: skip
    assert (shell(command, TAG=tag) == 0) is passes


@pytest.mark.parametrize("result", ["success", "failure", "cancelled", "skipped"])
def test_all_green_passes_only_if_every_job_did(result: str) -> None:
    [step] = [step for job, step in workflows.steps(CI) if job == "all-green"]
    needs = f'{{"tests": {{"result": "success"}}, "package": {{"result": "{result}"}}}}'
    assert (shell(step["run"], NEEDS=needs) == 0) is (result == "success")
