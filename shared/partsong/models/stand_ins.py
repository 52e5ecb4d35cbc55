"""Stand-ins: providers that answer for a model by its full name, in place of the vendor; for tests.

A model's name is data: it stands in a graph, travels over the bus, and is looked up by whichever gateway takes the turn.
So a stand-in is found by name as well, in a table of the process, and only while somebody holds its block open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from partsong.contracts.errors import Conflict, InvalidInput
from partsong.models.port import Provider

__all__ = ["stand_in", "standing_in"]

_STANDING: dict[str, Provider] = {}


@contextmanager
def standing_in(provider: Provider, *models: str) -> Iterator[None]:
    """Have `provider` answer for these models, whoever in this process asks, until the block ends.

    Nobody but the caller closes it. The part before the colon need not be a vendor's.

    Raises:
        InvalidInput: `model.malformed`, a name is not `provider:model`.
        Conflict: `model.stood_in`, another one answers for a model.
    """
    for model in models:
        _check(model)
    _STANDING.update(dict.fromkeys(models, provider))
    try:
        yield
    finally:
        for model in models:
            _STANDING.pop(model, None)


def stand_in(model: str) -> Provider | None:
    """Who answers for a model in place of its vendor, if anybody does."""
    return _STANDING.get(model)


def _check(model: str) -> None:
    vendor, _, name = model.partition(":")
    if not vendor or not name:
        raise InvalidInput(
            "model.malformed",
            f"{model!r} is not provider:model",
            where="model",
            fix="write for example test:reviewer",
        )
    if model in _STANDING:
        raise Conflict(
            "model.stood_in",
            f"another provider stands in for {model}",
            where="model",
            fix="end its block first, or give this one another name",
        )
