"""Offers: what a tool-runner has of what is asked for, and what the modules bring that it has loaded."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["MOST_ASKED", "LoadedModule", "Offer", "OfferQuestion", "ToolPlace", "ToolsQuestion"]

MOST_ASKED = 2_000
"""Names in one question; what is more is not looked up."""


class ToolsQuestion(BaseModel):
    """Asks each tool-runner what its tools look like to a model."""

    model_config = ConfigDict(frozen=True, extra="allow")

    sources: dict[str, str] = {}
    """By name: tools that are wanted from where a graph says that they stand; the answer says the `source` of each."""


class ToolPlace(BaseModel):
    """A tool as a graph names it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    source: str = ""
    """Where it stands; empty if any of that name will do."""


class OfferQuestion(BaseModel):
    """Asks each tool-runner which of these it has."""

    model_config = ConfigDict(frozen=True, extra="allow")

    functions: tuple[str, ...] = ()
    """`module:qualname`."""
    tools: tuple[ToolPlace, ...] = ()


class LoadedModule(BaseModel):
    """A module that a tool-runner was told to load."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    functions: tuple[str, ...] = ()
    """Those written at its top level, without the module's name."""
    tools: tuple[str, ...] = ()


class Offer(BaseModel):
    """Answers for one tool-runner."""

    model_config = ConfigDict(frozen=True, extra="allow")

    worker: str
    functions: tuple[str, ...] = ()
    """Of those that were asked for: what it has."""
    tools: tuple[ToolPlace, ...] = ()
    modules: tuple[LoadedModule, ...] = ()
    shadowed: tuple[str, ...] = ()
    """Names of built-in tools that have another one in their place here."""
