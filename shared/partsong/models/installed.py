"""Providers of installed packages, by entry points of the group `partsong.providers`.

Installing a package makes its provider known and runs nothing of it. A model's name is data that travels with a graph:
what such a name may load is for the operator to say, in PARTSONG_PROVIDERS.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import cast

from partsong.contracts.errors import Unavailable
from partsong.models.port import Provider
from partsong.runtime.entry_points import load, misfit

__all__ = ["GROUP", "made_by"]

GROUP = "partsong.providers"
"""Each entry point is called as the provider; it leads to a function of the environment that makes one."""


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
    make = load(GROUP, name)
    if not callable(make):
        raise misfit(
            GROUP, name, f"leads to a {type(make).__name__}, not to a function of the environment"
        )
    made: object = make(env)
    lacking = [part for part in ("name", "warm", "stream", "aclose") if not hasattr(made, part)]
    if lacking:
        raise misfit(GROUP, name, f"made a {type(made).__name__} without {', '.join(lacking)}")
    provider = cast("Provider", made)
    if provider.name != name:
        raise misfit(GROUP, name, f"made a provider that calls itself {provider.name!r}")
    return provider
