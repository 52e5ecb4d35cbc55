"""The rules of what runs at a code host, each a function of a text: what it finds wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import yaml

from tests.house.sources import ROOT

__all__ = [
    "WORKFLOWS",
    "events",
    "gate",
    "injection",
    "jobs",
    "matrix",
    "pins",
    "publisher",
    "rights",
    "steps",
    "tokens_left_behind",
    "unlimited",
    "updates",
]

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))
USES = re.compile(r"^\s*(?:- )?uses:\s*(\S+)(.*)$", re.MULTILINE)
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
VERSION = re.compile(r" # v\d+\.\d+\.\d+")
OUTSIDERS = {"pull_request_target", "workflow_run", "issue_comment", "issues", "discussion"}
"""What others can set off while the workflow has the rights and secrets of the project."""
NEEDED = {
    ("github-actions", "/"),
    ("uv", "/"),
    ("docker", "/deploy"),
    ("docker-compose", "/"),
}


def jobs(text: str) -> dict[str, dict[str, Any]]:
    """The jobs by name."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)["jobs"]
    return found


def steps(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every step with its job's name; a job that is another workflow has none."""
    for name, job in jobs(text).items():
        for step in job.get("steps", []):
            yield name, step


def pins(text: str) -> list[str]:
    """A tag can be moved, a commit cannot; the comment is what people and dependabot read."""
    loose = []
    for used, rest in USES.findall(text):
        if not used.startswith(
            "$/"
        ):  # our own, at the same commit; `./` is whatever lies there by then
            loose += [] if PINNED.fullmatch(used) else [f"{used} is not pinned to a commit"]
            loose += [] if VERSION.fullmatch(rest) else [f"{used} does not say its version"]
    return loose


def rights(text: str) -> list[str]:
    """Nobody may do anything but the job that says so, which reads; who publishes may say who it is."""
    wrong = [] if yaml.safe_load(text).get("permissions") == {} else ["rights for all jobs"]
    for name, job in jobs(text).items():
        asked = job.get("permissions")
        if not isinstance(asked, dict):
            wrong.append(f"{name} does not say what it may do")
            continue
        allowed = {("contents", "read")}
        if job.get("environment"):
            allowed = {("id-token", "write")}
        wrong += [
            f"{name} may {key}: {asked[key]}" for key in asked if (key, asked[key]) not in allowed
        ]
    return wrong  # fmt: skip


def tokens_left_behind(text: str) -> list[str]:
    """A checkout leaves its token in `.git/config`, where every later step can read it."""
    return [
        f"{name} keeps the checkout's token"
        for name, step in steps(text)
        if step.get("uses", "").startswith("actions/checkout@")
        and step.get("with", {}).get("persist-credentials") is not False
    ]


def unlimited(text: str) -> list[str]:
    """A job that hangs costs six hours; one that is another workflow has that one's limits."""
    return [
        f"{name} has no timeout-minutes"
        for name, job in jobs(text).items()
        if "uses" not in job and not isinstance(job.get("timeout-minutes"), int)
    ]


def injection(text: str) -> list[str]:
    """What others wrote (a branch's name) is put into a script before a shell reads it: through `env` it is a value."""
    return [f"{name}: {step['run']}" for name, step in steps(text) if "${{" in step.get("run", "")]


def events(text: str) -> list[str]:
    """Nothing that outsiders set off has the project's rights."""
    on = yaml.safe_load(text)[True]  # YAML 1.1 reads the word `on` so
    return [f"set off by {one}" for one in sorted(OUTSIDERS) if one == on or one in on]


def gate(text: str) -> list[str]:
    """One job needs all others and also runs when they failed, since a check that was skipped counts as passed."""
    found = jobs(text)
    last = found.get("all-green")
    if last is None:
        return ["no all-green"]
    missing = sorted(set(found) - {"all-green"} - set(last.get("needs", [])))
    return [
        *(f"all-green does not need {one}" for one in missing),
        *([] if last.get("if") == "always()" else ["all-green is skipped when another job failed"]),
        *(
            f"{one} may fail"
            for one, job in found.items()
            if any("continue-on-error" in part for part in (job, *job.get("steps", [])))
        ),
    ]


def matrix(text: str, pyproject: str) -> list[str]:
    """Tested is what is promised, and promised what is tested."""
    said = tomllib.loads(pyproject)["project"]["classifiers"]
    promised = {one.rpartition(" ")[2] for one in said if re.search(r":: 3\.\d+$", one)}
    tested = set(jobs(text)["tests"]["strategy"]["matrix"]["python"])
    return [
        *(f"{one} is promised, and not tested" for one in sorted(promised - tested)),
        *(f"{one} is tested, and not promised" for one in sorted(tested - promised)),
    ]


def publisher(text: str) -> list[str]:
    """Where the right to publish is, nothing of ours runs: it takes what was tested, and waits for the environment."""
    wrong = []
    for name, job in jobs(text).items():
        if not any("pypi-publish" in step.get("uses", "") for step in job.get("steps", [])):
            continue
        wrong += [f"{name} runs {step['run']}" for step in job["steps"] if "run" in step]
        wrong += [f"{name} has a checkout" for step in job["steps"] if "checkout" in str(step)]
        wrong += [f"{name} has a password" for step in job["steps"] if "password" in str(step)]
        if job.get("environment", {}).get("name") != "pypi":
            wrong.append(f"{name} is not in the environment pypi")
        if job.get("needs") != "ci":
            wrong.append(f"{name} does not wait for CI")
    if jobs(text).get("ci", {}).get("needs") != "tag":
        wrong.append("the tag is not compared with the version")
    return wrong


def updates(text: str) -> list[str]:
    """What is pinned gets old: somebody asks for newer ones, all of a kind at once."""
    entries = {
        (one["package-ecosystem"], one["directory"]): one for one in yaml.safe_load(text)["updates"]
    }
    return [
        *(f"nobody updates {kind} in {folder}" for kind, folder in sorted(NEEDED - set(entries))),
        *(f"{kind} is not weekly" for (kind, _), one in entries.items() if one["schedule"] != {"interval": "weekly"}),
        *(f"{kind} comes one by one" for (kind, _), one in entries.items() if not one.get("groups")),
    ]  # fmt: skip
