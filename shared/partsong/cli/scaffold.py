"""The files of a new project, from the templates beside this module."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

from partsong.contracts.errors import InvalidInput

__all__ = ["package_of", "project"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_TAKEN = frozenset({"partsong", "tests", "test", *sys.stdlib_module_names})
_SUFFIX = ".tmpl"


def package_of(name: str) -> str:
    """The package of a project: `my-shop` has `my_shop`.

    Raises:
        InvalidInput: `project.bad_name`.
    """
    package = name.replace("-", "_").lower()
    if _NAME.fullmatch(name) is None or name[-1] in "-_":
        why = "it begins with a letter and holds letters, digits, - and _"
    elif keyword.iskeyword(package):
        why = "that is a word of Python's"
    elif package in _TAKEN:
        why = f"there is a module {package} already"
    else:
        return package
    raise InvalidInput(
        "project.bad_name", f"{name!r} cannot be a project's name: {why}", where="NAME"
    )


def project(name: str, template: str, version: str) -> dict[str, str]:
    """What is in each file of a new project, by its path.

    Raises:
        InvalidInput: `project.bad_name`.
    """
    package = package_of(name)
    words = {"name": name, "package": package, "version": version}
    root = files("partsong.cli") / "templates"
    found: dict[str, str] = {}
    for source in ("common", template):
        for path, text in _texts(root / source, ""):
            place = path.removesuffix(_SUFFIX).replace("package/", f"{package}/", 1)
            found[".gitignore" if place == "gitignore" else place] = Template(text).substitute(
                words
            )
    return found


def _texts(folder: Traversable, place: str) -> Iterator[tuple[str, str]]:
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.is_dir():
            yield from _texts(one, f"{place}{one.name}/")
        elif one.name.endswith(_SUFFIX):
            yield f"{place}{one.name}", one.read_text(encoding="utf-8")
