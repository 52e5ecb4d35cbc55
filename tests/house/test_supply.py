"""Where the parts come from: one lock file, one index, one script that CI calls."""

from __future__ import annotations

import tomllib
from typing import cast

from tests.house.sources import ROOT
from tests.house.workflows import steps

INDEX = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/"


def packages() -> list[dict[str, object]]:
    lock = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
    return cast("list[dict[str, object]]", lock["package"])


def files_of(package: dict[str, object]) -> list[dict[str, str]]:
    wheels = cast("list[dict[str, str]]", package.get("wheels", []))
    sdist = cast("dict[str, str] | None", package.get("sdist"))
    return [*wheels, *([sdist] if sdist else [])]


def test_every_locked_package_comes_from_pypi() -> None:
    foreign = {
        str(package["name"]): package["source"]
        for package in packages()
        if package["source"] not in ({"registry": INDEX}, {"editable": "."})
    }
    assert not foreign


def test_every_locked_file_is_pypis_own_and_pinned_by_hash() -> None:
    loose = [
        file["url"]
        for package in packages()
        for file in files_of(package)
        if not file["url"].startswith(FILES) or not file["hash"].startswith("sha256:")
    ]
    assert not loose


def test_every_dependency_has_an_upper_bound_or_a_reason_to_float() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    required = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    floating = {one for one in required if "<" not in one and not one.startswith("partsong[")}
    assert floating <= {"websockets>=15"}, f"give these an upper bound: {sorted(floating)}"


def test_the_hosted_workflow_only_calls_the_ci_scripts() -> None:
    commands = [
        (job, step["run"])
        for job, step in steps((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
        if "run" in step and job != "all-green"
    ]
    assert commands == [("tests", ".ci/run"), ("package", ".ci/package")]
