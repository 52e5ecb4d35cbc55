"""What the modules bring that a tool-runner has loaded, in lines for whoever starts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from partsong.contracts.wire.offers import Offer

__all__ = ["lines_of", "loaded"]

_SHOWN = 12


async def loaded(nats_url: str, prefix: str, data: Path) -> list[str]:
    """What the tool-runners say of their modules; nothing if they cannot be asked."""
    from partsong.client import Client
    from partsong.contracts.errors import PartsongError

    try:
        async with Client(nats_url, prefix=prefix or None, data=data) as client:
            offers = await client.offers()
    except PartsongError:
        return []
    return list(dict.fromkeys(line for offer in offers for line in lines_of(offer)))


def lines_of(offer: Offer) -> Iterator[str]:
    """A line for each module, and for each built-in tool that is not to be had."""
    for module in offer.modules:
        parts = [
            f"{what} {_listed(names)}"
            for what, names in (("functions", module.functions), ("tools", module.tools))
            if names
        ]
        yield f"{module.name}: {'; '.join(parts) or 'neither a function nor a tool at its top level'}"
    for name in offer.shadowed:
        yield f"tool {name} takes the place of the built-in one"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
