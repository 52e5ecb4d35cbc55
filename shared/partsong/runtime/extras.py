"""What of an extra (`partsong[engine]`) is installed, by the requirements that the package itself states."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires

__all__ = ["lacking"]

_REQUIRED = re.compile(
    r"(?P<name>[\w.-]+)(\[(?P<extras>[^]]*)\])?.*;.*\bextra == ['\"](?P<of>[^'\"]+)"
)


def lacking(extra: str) -> list[str]:
    """The packages of an extra that are not installed, by name; those of extras that it names count too."""
    return sorted({name for name in _packages(extra) if not _installed(name)})


def _packages(extra: str) -> Iterator[str]:
    try:
        required = requires("partsong") or []
    except PackageNotFoundError:  # run from its sources: nobody says what it takes
        return
    for text in required:
        found = _REQUIRED.match(text)
        if found is None or found["of"] != extra:
            continue
        if found["name"] != "partsong":
            yield found["name"]
        else:
            for inner in (found["extras"] or "").split(","):
                yield from _packages(inner.strip())


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
