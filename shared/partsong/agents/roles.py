"""`AgentRole`: who an agent is, as data: what it wants, what it knows, what it hands over, what it may do."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from partsong.agents.artefacts import ARTEFACTS, artefact
from partsong.agents.choice import choose
from partsong.agents.output import OutputType, output_of
from partsong.agents.role_file import read_role
from partsong.agents.toolset import Toolset
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import AgentSpec, CacheMode
from partsong.contracts.graph.misfits import problem_of, problems_of, refusing
from partsong.contracts.graph.templates import stray_hole
from partsong.tools.registry import ToolRegistry
from partsong.tools.tool import SideEffect

__all__ = ["ROOM", "AgentRole"]

ROOM = 16_384
"""Output tokens of one turn of a role: artefacts are documents."""

_Line = Annotated[str, Field(min_length=1)]


class AgentRole(BaseModel):
    """A role says nothing about models and keys: any agent can play it. Two roles of equal content have equal hashes."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    if not TYPE_CHECKING:  # which see the fields
        __init__ = refusing("role.malformed")

    name: _Line
    goal: _Line
    backstory: str = ""
    constraints: tuple[_Line, ...] = ()
    skills: tuple[_Line, ...] = ()
    output: str | dict[str, JsonValue] | None = None
    """What it hands over: the name of an artefact (`prd`), or a JSON Schema; None is text."""
    toolset: tuple[str, ...] = ()
    """The tools it needs, by name."""
    may: SideEffect = "read"
    """The strongest side effect its tool calls may have."""
    asks: SideEffect | None = "write"
    """From this side effect on, a person must approve its calls; None leaves that to the tools."""
    watches: tuple[str, ...] = ()
    """The artefacts it takes up when another role hands them over."""
    cache: CacheMode = "auto"
    """How long the vendor keeps what it has read of a conversation."""

    @field_validator("cache", mode="before")
    @classmethod
    def _word(cls, cache: object) -> object:
        """Takes `off` for a word also where the reader of a YAML file took it for a truth value."""
        return "off" if cache is False else cache

    @field_validator("output")
    @classmethod
    def _known(cls, output: str | dict[str, JsonValue] | None) -> str | dict[str, JsonValue] | None:
        if isinstance(output, str) and output not in ARTEFACTS:
            raise ValueError(
                f"{output!r} is no artefact; write one of {', '.join(ARTEFACTS)}, or a JSON Schema"
            )
        return output

    @field_validator("name", "goal", "backstory", "constraints", "skills")
    @classmethod
    def _nothing_to_fill_in(cls, said: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for text in (said,) if isinstance(said, str) else said:
            if stray := stray_hole(text, "the role", "role.unknown_variable"):
                raise ValueError(f"{stray.message}; {stray.fix}")
        return said

    @classmethod
    def from_yaml(cls, source: str | Path) -> Self:
        """A role from a YAML file, or from YAML text: text has more than one line, or a colon and a space.

        Raises:
            NotFound: `role.no_file`.
            InvalidInput: `role.bad_yaml` with the line, or `role.malformed` with every field that is wrong.
        """
        fields, place, lines = read_role(source)
        known = cls.model_fields.keys()
        if not isinstance(fields, dict):
            kind = type(fields).__name__
            raise InvalidInput(
                "role.malformed",
                f"a role is a mapping with {', '.join(known)}, this is a {kind}",
                where=place,
            )
        wrong = [
            Problem(
                code="role.malformed",
                message=f"there is no field {name!r}, a role has {', '.join(known)}",
                where=str(name),
                fix="correct the name, or take the field out",
                fault="caller",
            )
            for name in fields
            if name not in known
        ]
        try:
            role = cls.model_validate({k: v for k, v in fields.items() if k in known})
        except ValidationError as error:
            wrong += problems_of(error, "role.malformed")
        else:
            if not wrong:
                return role
        raise InvalidInput.all_of([_located(problem, place, lines) for problem in wrong])

    @property
    def hash(self) -> str:
        """`sha256:…` of the canonical JSON: the role's identity."""
        data = self.model_dump(mode="json")
        if self.cache == "auto":  # what a role was before there was a choice
            del data["cache"]
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    @property
    def output_type(self) -> OutputType:
        """What `Agent(output=…)` takes."""
        return artefact(self.output) if isinstance(self.output, str) else self.output

    def spec(self, model: str = "", *, instructions: str = "") -> AgentSpec:
        """The role as data for a graph, played by `provider:model`; `instructions` are added to its prompt.

        Without a model, it is the one that `Agent()` would ask.

        Raises:
            InvalidInput: `agent.malformed`, no model is called so.
        """
        told = "\n\n".join(part for part in (self.prompt(), instructions) if part)
        output = self.output_type
        fields = {
            "model": model or choose("", os.environ).models[0],
            "instructions": told,
            "tools": self.toolset,
            "may": self.may,
            "asks": self.asks,
            "max_tokens": ROOM,
            "cache": self.cache,
            "output_schema": made.schema if (made := output_of(output)) is not None else None,
        }
        try:
            return AgentSpec.model_validate(fields)
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "agent.malformed", "agent")) from None

    def allows(self, registry: ToolRegistry) -> Toolset:
        """Its tools out of a registry, with its permissions.

        Raises:
            NotFound: `tool.unknown`, the registry lacks a tool that the role needs.
            InvalidInput: `tool.forbidden`, the role's own tool goes beyond what it may do.
        """
        return Toolset(registry, self.toolset, may=self.may, asks=self.asks)

    def prompt(self) -> str:
        """The instructions for the model; the same role always makes the same text."""
        parts = [f"You are the {self.name}. {self.goal}", self.backstory]
        parts.append(_listed("You are good at", self.skills))
        parts.append(_listed("Rules you keep", self.constraints))
        if isinstance(self.output, str):
            about = (artefact(self.output).__doc__ or "").strip()
            parts.append(f"You hand over one {self.output.replace('_', ' ')}. {about}")
        return "\n\n".join(part for part in parts if part)


def _listed(title: str, lines: tuple[str, ...]) -> str:
    return f"{title}:\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def _located(problem: Problem, place: str, lines: Mapping[str, int]) -> Problem:
    """The problem with the file, and the line of its field if that is there."""
    path = problem.where or ""
    line = lines.get(re.split(r"[.\[]", path, maxsplit=1)[0])
    at = place if line is None else f"{place}, line {line}"
    return problem.model_copy(update={"where": f"{at}: {path}" if path else at})
