"""Entry points: what installed packages offer, found by name. Nothing runs of a package that was not asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from partsong.contracts.errors import InvalidInput, NotFound

__all__ = ["load", "misfit", "offered"]


def offered(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group, by name. Nothing is loaded."""
    return _found(group, tuple(sys.path))


@lru_cache(maxsize=8)
def _found(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:  # noqa: ARG001  # what the answer depends on
    """Looked for once per path: it takes milliseconds, and each turn of an agent asks."""
    return {point.name: point for point in entry_points(group=group)}


def load(group: str, name: str, *, where: str = "") -> object:
    """What the entry point leads to; `where` names the setting or place that asks for it.

    Raises:
        NotFound: `tool.no_entry_point` (for the group `partsong.tools`): no installed package has one of this name.
        InvalidInput: `tool.bad_entry_point`: loading it failed.
    """
    points = offered(group)
    if name not in points:
        raise NotFound(
            f"{_kind(group)}.no_entry_point",
            f"no installed package has an entry point {name!r} in {group}; "
            f"there are {', '.join(sorted(points)) or 'none'}",
            where=where or name,
            fix="install the package, or correct the name",
        )
    try:
        return points[name].load()
    except Exception as error:
        raise misfit(group, name, f"cannot be loaded: {type(error).__name__}: {error}") from error


def misfit(group: str, name: str, why: str) -> InvalidInput:
    """The error for an entry point that leads to what `why` says."""
    return InvalidInput(
        f"{_kind(group)}.bad_entry_point",
        f"entry point {name} = {offered(group)[name].value} {why}",
        where=name,
        fix="mend or update the package, or do without it",
    )


def _kind(group: str) -> str:
    return group.removeprefix("partsong.").removesuffix("s")
