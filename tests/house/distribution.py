"""What is handed out: what a wheel and an sdist of this checkout hold, and what they must not.

`python -m tests.house.distribution FOLDER` looks into those of a folder; the test builds some and looks into them.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

from tests.house.sources import ROOT

__all__ = [
    "LARGEST",
    "METADATA",
    "STRAY",
    "moved",
    "names_in",
    "of_sdist",
    "of_wheel",
    "packaged",
    "roots",
    "tracked",
]

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
METADATA: dict[str, Any] = PROJECT["project"]
LARGEST = 3_000_000
"""Bytes of a wheel; it has 1.1 MB without the console's bundle."""

LEFT_OUT = re.compile(r"(^|/)(node_modules|console/web)/")
STRAY = re.compile(
    r"(^|/)(node_modules|__pycache__|console/web|tests|bench|examples)/"
    r"|\.(pyc|tsx?|tsbuildinfo|whl)$|(^|/)(package(-lock)?\.json|vite\.config\.\w+)$"
)
"""What has no business in a wheel. A template of a project may have tests: it is a text that is filled in."""
MADE = {"partsong/__init__.py", "partsong/py.typed"}
"""What a wheel has, being one root, and a checkout has not."""
TEMPLATE = re.compile(r"/templates/.+\.tmpl$")


def roots() -> list[str]:
    """Where the wheel takes its packages from, as the build is told."""
    found: list[str] = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    return found


def moved() -> dict[str, str]:
    """What else is packaged, and where: the published schemas beside the package that they are made from."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    found: dict[str, str] = wheel["force-include"]
    return found


def tracked(*under: str) -> list[str]:
    """The files that are in git or will be: a new one counts before it is added. None outside a checkout."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *under)
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return sorted(one for one in listed.stdout.splitlines() if (ROOT / one).is_file())


def names_in(path: Path) -> set[str]:
    """The files of a wheel, or of an sdist without the folder that all of them are in."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return set(wheel.namelist())
    with tarfile.open(path) as sdist:
        return {one.name.partition("/")[2] for one in sdist if one.isfile()}


def packaged() -> set[str]:
    """Where the files of this checkout lie in a wheel."""
    return (
        MADE
        | {
            f"partsong/{one.removeprefix(root).lstrip('/')}"
            for root in roots()
            for one in tracked(root)
            if not LEFT_OUT.search(one)
        }
        | {
            one.replace(source, target, 1)
            for source, target in moved().items()
            for one in tracked(source)
        }
    )


def of_wheel(path: Path, expected: set[str]) -> list[str]:
    """What is wrong with a wheel; `expected` are its modules and data."""
    names = names_in(path)
    own = {one for one in names if one.startswith("partsong/")}
    notes = {one for one in names if one.startswith(f"partsong-{METADATA['version']}.dist-info/")}
    return [
        *(f"{one} is missing" for one in sorted(expected - own)),
        *(f"{one} is not of the project" for one in sorted(own - expected)),
        *(f"{one} is beside the package" for one in sorted(names - own - notes)),
        *(f"{one} is not for users" for one in sorted(own) if _is_stray(one)),
        *(f"{one} has no py.typed" for one in sorted(_packages(own)) if f"{one}/py.typed" not in own),
        *_of_notes(path, names),
        *([f"{path.stat().st_size} bytes, at most {LARGEST}"] if path.stat().st_size > LARGEST else []),
    ]  # fmt: skip


def of_sdist(path: Path) -> list[str]:
    """What is wrong with an sdist: all that is packaged is in it with its sources, and nothing that was built by the way."""
    names = names_in(path)
    needed = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO"}
    needed |= set(tracked(*roots(), *moved(), ".ci/hatch_build.py"))
    return [
        *(f"{one} is missing" for one in sorted(needed - names)),
        *(f"{one} is not for users" for one in sorted(names) if re.search(r"(^|/)node_modules/|\.pyc$", one)),
    ]  # fmt: skip


def _is_stray(name: str) -> bool:
    return bool(STRAY.search(name)) and not TEMPLATE.search(name)


def _packages(names: set[str]) -> set[str]:
    """The packages right below the namespace: each says for itself that it is typed (PEP 561)."""
    return {
        found[1] for one in names if (found := re.fullmatch(r"(partsong/\w+)/__init__\.py", one))
    }


def _of_notes(path: Path, names: set[str]) -> list[str]:
    """What a wheel says of itself, beside what `pyproject.toml` says."""
    notes = f"partsong-{METADATA['version']}.dist-info"
    with zipfile.ZipFile(path) as wheel:
        said = Parser().parsestr(wheel.read(f"{notes}/METADATA").decode())
        points = configparser.ConfigParser(delimiters="=")
        points.read_string(wheel.read(f"{notes}/entry_points.txt").decode())
    offered = {group: dict(points[group]) for group in points.sections()}
    targets = {target for group in offered.values() for target in group.values()}
    return [
        *_differences(said),
        *([] if offered == _entry_points() else [f"entry points are {offered}"]),
        *(f"{one} leads nowhere" for one in sorted(targets) if _module_of(one) not in names),
        *([] if f"{notes}/licenses/LICENSE" in names else ["no license"]),
        *(f"the page has a link that leads nowhere: {one}" for one in _relative(said)),
    ]


def _differences(said: Message) -> list[str]:
    pairs = {
        "Name": METADATA["name"],
        "Version": METADATA["version"],
        "Requires-Python": METADATA["requires-python"],
        "License-Expression": METADATA["license"],
    }
    extras = set(said.get_all("Provides-Extra", []))
    urls = dict(one.split(", ") for one in said.get_all("Project-URL", []))
    return [
        *(f"{key} is {said[key]}, not {value}" for key, value in pairs.items() if said[key] != value),
        *([] if extras == set(METADATA["optional-dependencies"]) else [f"extras are {sorted(extras)}"]),
        *([] if urls == METADATA["urls"] else [f"addresses are {urls}"]),
    ]  # fmt: skip


def _relative(said: Message) -> list[str]:
    """Links of the description that only lead somewhere in a checkout."""
    targets: list[str] = re.findall(r"\]\(([^)\s]+)\)", str(said.get_payload()))
    return [one for one in targets if not re.match(r"https://|#", one)]


def _entry_points() -> dict[str, dict[str, str]]:
    return {"console_scripts": METADATA["scripts"], **METADATA["entry-points"]}


def _module_of(target: str) -> str:
    return target.partition(":")[0].replace(".", "/") + ".py"


def _main(folder: Path) -> int:
    wheels, sdists = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    wrong = [f"{path.name}: {one}" for path in wheels for one in of_wheel(path, packaged())]
    wrong += [f"{path.name}: {one}" for path in sdists for one in of_sdist(path)]
    if (len(wheels), len(sdists)) != (1, 1):
        wrong.append(
            f"{folder} holds {len(wheels)} wheels and {len(sdists)} sdists, not one of each"
        )
    sys.stdout.writelines(f"{one}\n" for one in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
