"""The wheel and the sdist, built for real and without a network, from a copy in which things lie about."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.house import distribution
from tests.house.sources import ROOT

CONSOLE = f"{distribution.roots()[-1]}/console"
BUILT = {f"{CONSOLE}/static/planted.js", f"{CONSOLE}/static/assets/planted.css"}
SOURCES = {f"{CONSOLE}/web/src/planted.ts", f"{CONSOLE}/web/package.json"}
RUBBISH = {
    f"{CONSOLE}/web/node_modules/planted.js",
    f"{CONSOLE}/web/node_modules/planted/package.json",
    *(f"{root}/planted/node_modules/y.js" for root in distribution.roots()),
    *(f"{root}/planted/__pycache__/y.cpython-311.pyc" for root in distribution.roots()),
    "tests/planted.py",
    "bench/planted.py",
    "examples/planted.py",
}
WHOLE = distribution.packaged() | {
    one.replace(distribution.roots()[-1], "partsong") for one in BUILT
}
BESIDE = (
    ".ci/hatch_build.py",
    "pyproject.toml",
    ".gitignore",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
)


class Made(NamedTuple):
    wheel: Path
    sdist: Path
    again: Path
    """A wheel out of the sdist, which is how `uv build` and `pip install` without a wheel make theirs."""


def build(builder: type[Any], source: Path, folder: Path) -> Path:
    made = builder(str(source)).build(directory=str(folder), versions=["standard"])
    return Path(next(iter(made)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    files = distribution.tracked(*distribution.roots(), *distribution.moved(), *BESIDE)
    if not files:
        pytest.skip("not a checkout")
    work = tmp_path_factory.mktemp("distribution")
    copy = work / "copy"
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, copy / name)
    for name in BUILT | SOURCES | RUBBISH:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("planted", "utf-8")
    with (copy / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("static/\n")
    wheel = build(WheelBuilder, copy, work / "wheel")
    sdist = build(SdistBuilder, copy, work / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(work / "unpacked", filter="data")
    unpacked = next((work / "unpacked").iterdir())
    return Made(wheel, sdist, build(WheelBuilder, unpacked, work / "again"))


def test_a_wheel_holds_the_whole_package_and_nothing_else(made: Made) -> None:
    assert distribution.of_wheel(made.wheel, WHOLE) == []


def test_every_part_of_the_namespace_is_packaged() -> None:
    found = (re.match(r"(?!tests/|bench/|examples/)(.*?\bpartsong)/.+\.py$", one) for one in distribution.tracked())  # fmt: skip
    assert {one[1] for one in found if one} == set(distribution.roots())


def test_an_sdist_holds_what_the_console_is_built_from_and_no_rubbish(made: Made) -> None:
    assert distribution.of_sdist(made.sdist) == []
    names = distribution.names_in(made.sdist)
    assert names >= BUILT | SOURCES
    assert not names & RUBBISH


def test_a_wheel_out_of_the_sdist_is_the_same_to_the_byte(made: Made) -> None:
    assert made.again.read_bytes() == made.wheel.read_bytes()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tests/test_x.py", "is beside the package"),
        ("partsong/client/stray.py", "is not of the project"),
        ("partsong/console/web/src/x.ts", "is not for users"),
        ("partsong/console/package-lock.json", "is not for users"),
        ("partsong/console/node_modules/y.js", "is not for users"),
        ("partsong/client/__pycache__/x.pyc", "is not for users"),
    ],
)
def test_what_does_not_belong_into_a_wheel_is_named(
    made: Made, tmp_path: Path, name: str, said: str
) -> None:
    path = Path(shutil.copy(made.wheel, tmp_path))
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.writestr(name, "planted")
    assert f"{name} {said}" in distribution.of_wheel(path, WHOLE)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("partsong/client/__init__.py", "partsong/client/__init__.py is missing"),
        ("partsong/client/py.typed", "partsong/client has no py.typed"),
        ("partsong/cli/main.py", "partsong.cli.main:main leads nowhere"),
        ("partsong/__init__.py", "partsong/__init__.py is missing"),
        ("partsong/plugins/py.typed", "partsong/plugins has no py.typed"),
        ("partsong/teams/py.typed", "partsong/teams has no py.typed"),
        ("partsong/contracts/asyncapi.yaml", "partsong/contracts/asyncapi.yaml is missing"),
    ],
)
def test_what_a_wheel_lacks_is_named(made: Made, tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / made.wheel.name
    with zipfile.ZipFile(made.wheel) as whole, zipfile.ZipFile(path, "w") as less:
        assert name in whole.namelist()
        for one in whole.namelist():
            if one != name:
                less.writestr(one, whole.read(one))
    assert said in distribution.of_wheel(path, WHOLE)


def test_a_link_of_the_page_that_leads_nowhere_is_named(made: Made, tmp_path: Path) -> None:
    path, notes = tmp_path / made.wheel.name, f"partsong-{distribution.METADATA['version']}"
    with zipfile.ZipFile(made.wheel) as whole, zipfile.ZipFile(path, "w") as other:
        for one in whole.namelist():
            more = b"\nsee [why](docs/why.md)" if one == f"{notes}.dist-info/METADATA" else b""
            other.writestr(one, whole.read(one) + more)
    said = "the page has a link that leads nowhere: docs/why.md"
    assert said in distribution.of_wheel(path, WHOLE)


def test_the_schemas_are_found_where_the_documents_say(made: Made, tmp_path: Path) -> None:
    with zipfile.ZipFile(made.wheel) as wheel:
        wheel.extractall(tmp_path)
    command = (
        "from importlib.resources import files; found = files('partsong.contracts');"
        "print((found / 'asyncapi.yaml').is_file(), (found / 'schemas/run.started/v1.json').is_file())"
    )
    done = subprocess.run([sys.executable, "-S", "-c", command], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.stdout == "True True\n", done.stderr


def test_the_version_is_where_people_look_for_it(made: Made, tmp_path: Path) -> None:
    with zipfile.ZipFile(made.wheel) as wheel:
        wheel.extractall(tmp_path)
    say = "import partsong; print(partsong.__version__); import partsong.contracts, partsong.client"
    for command, env in (
        ([sys.executable, "-S", "-c", say], {"PYTHONPATH": f"{tmp_path}:{purelib()}"}),
        ([sys.executable, "-c", say], None),  # this checkout's environment
    ):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.stdout == f"{distribution.METADATA['version']}\n", done.stderr


def purelib() -> str:
    """Where the packages of this environment are."""
    return sysconfig.get_path("purelib")


def test_a_wheel_that_has_grown_too_large_is_named(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = made.wheel.stat().st_size
    monkeypatch.setattr(distribution, "LARGEST", size - 1)
    assert f"{size} bytes, at most {size - 1}" in distribution.of_wheel(made.wheel, WHOLE)
