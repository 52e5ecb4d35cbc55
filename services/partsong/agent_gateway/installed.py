"""Providers of installed packages, by entry points of the group `partsong.providers`.

Installing a package makes its provider known and runs nothing of it. A model's name is data that travels with a graph:
what such a name may load is for the operator to say, in PARTSONG_PROVIDERS.
"""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from partsong.agent_gateway.port import Provider
from partsong.contracts.errors import InvalidInput, Unavailable

__all__ = ["GROUP", "installed", "made_by"]

GROUP = "partsong.providers"
"""Each entry point is called as the provider; it leads to a function of the environment that makes one."""


def installed() -> Mapping[str, EntryPoint]:
    """The entry points there are."""
    return _found(tuple(sys.path))


@lru_cache(maxsize=1)
def _found(path: tuple[str, ...]) -> Mapping[str, EntryPoint]:  # noqa: ARG001  # what the answer depends on
    """Looked for once per path: it takes milliseconds, and each turn asks."""
    return {point.name: point for point in entry_points(group=GROUP)}


def made_by(name: str, allowed: Container[str], env: Mapping[str, str]) -> Provider:
    """The provider of an installed package, which must have one of this name.

    Raises:
        Unavailable: `provider.not_allowed`.
        InvalidInput: `provider.bad_entry_point`; and whatever the package raises of Partsong's own errors, for example
            because it has no key.
    """
    if name not in allowed:
        raise Unavailable(
            "provider.not_allowed",
            f"an installed package has the provider {name!r}, but it is not among those that may be used",
            where="PARTSONG_PROVIDERS",
            fix=f"set PARTSONG_PROVIDERS={name}, or name several with commas between them",
        )
    point = installed()[name]
    try:
        make: object = point.load()
    except Exception as error:
        raise _bad(point, f"cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(make):
        raise _bad(point, f"leads to a {type(make).__name__}, not to a function of the environment")
    made: object = make(env)
    lacking = [part for part in ("name", "warm", "stream", "aclose") if not hasattr(made, part)]
    if lacking:
        raise _bad(point, f"made a {type(made).__name__} without {', '.join(lacking)}")
    provider = cast("Provider", made)
    if provider.name != name:
        raise _bad(point, f"made a provider that calls itself {provider.name!r}")
    return provider


def _bad(point: EntryPoint, why: str) -> InvalidInput:
    return InvalidInput(
        "provider.bad_entry_point",
        f"entry point {point.name} = {point.value} {why}",
        where=point.name,
        fix="mend or update the package, or take it off PARTSONG_PROVIDERS",
    )
