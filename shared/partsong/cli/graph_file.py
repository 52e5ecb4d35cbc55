"""A graph from a YAML or JSON file, with errors that name the line.

YAML here is YAML 1.2 with the types of JSON: `on`, `off`, `yes` and `no` are words, not truth values, for `on` is a
field of every conditional edge; dates are text; and a key that stands twice is an error instead of a silent loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import START, Graph
from partsong.contracts.validate import parse_graph

__all__ = ["located", "parse", "read_graph", "read_text"]


_CORE = {
    "null": (r"(~|null|Null|NULL|)$", "~nN"),
    "bool": (r"(true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)$", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", "-+.0123456789"),
}


class _Loader(yaml.SafeLoader):
    """Reads the core schema of YAML 1.2: what JSON has, and nothing else."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # yaml's own name, by the first character
        first: [
            (f"tag:yaml.org,2002:{tag}", re.compile(pattern))
            for tag, (pattern, firsts) in _CORE.items()
            if first in firsts
        ]
        for first in ["", *{first for _, firsts in _CORE.values() for first in firsts}]
    }

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002  # yaml's signature
    ) -> dict[Hashable, Any]:
        """A mapping whose keys are text, each there once."""
        seen: set[object] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, str):
                said = f"the key {name!r} is not text: put it into quotes"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            if name in seen:
                said = f"the key {name!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def read_graph(path: Path) -> Graph:
    """The graph in a file.

    Raises:
        InvalidInput: `file.unreadable`, or what is wrong with the graph; `where` begins with file and line.
    """
    text = read_text(path)
    spec = parse(path, text)
    try:
        return parse_graph(spec)
    except InvalidInput as error:
        raise InvalidInput.of(located(error.problem, path, text)) from error


def read_text(path: Path) -> str:
    """What stands in a file.

    Raises:
        InvalidInput: `file.unreadable`.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise _unreadable(path, str(error), "give the path of a YAML or JSON file") from error


def parse(path: Path, text: str) -> JsonValue:
    """The text as plain data: JSON by the file's name, else YAML.

    Raises:
        InvalidInput: `file.unreadable`, with the line.
    """
    try:
        if path.suffix == ".json":
            value: JsonValue = json.loads(text, object_pairs_hook=_once)
        else:
            value = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except json.JSONDecodeError as error:
        raise _unreadable(f"{path}:{error.lineno}", error.msg) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else path
        raise _unreadable(place, error.problem or str(error)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    return value


def located(problem: Problem, path: Path, text: str) -> Problem:
    """The problem with file and line before its place."""
    tokens = re.findall(r"[^.\[\]]+", (problem.where or "").removeprefix("graph"))
    if problem.code == "graph.malformed" and tokens[:1] == ["nodes"] and len(tokens) > 2:
        del tokens[2]  # the node's type, which the parser names and the file does not
    try:
        place = f"{path}:{_line(yaml.compose(text, _Loader), tokens)}"
    except yaml.YAMLError:  # JSON that is not YAML: it is indented with tabs
        place = str(path)
    inner = f" ({problem.where})" if problem.where else ""
    return problem.model_copy(update={"where": f"{place}{inner}"})


def _line(node: yaml.Node | None, tokens: list[str]) -> int:
    """The line of the deepest part of the document that the tokens lead to."""
    line = node.start_mark.line if node else 0
    for token in tokens:
        match node:
            case yaml.MappingNode(value=pairs):
                found = next(((k, v) for k, v in pairs if k.value == token), None)
            case yaml.SequenceNode(value=items) if token.isdigit():
                kept = [item for item in items if not _is_start(item)]
                found = (kept[int(token)],) * 2 if int(token) < len(kept) else None
            case _:
                found = None
        if found is None:
            break
        line, node = found[0].start_mark.line, found[1]
    return line + 1


def _is_start(item: yaml.Node) -> bool:
    """Whether it is an edge from START: those set the entry and are not counted."""
    pairs = item.value if isinstance(item, yaml.MappingNode) else []
    return any(key.value == "from" and value.value == START for key, value in pairs)


def _once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _unreadable(place: object, why: str, fix: str | None = None) -> InvalidInput:
    return InvalidInput("file.unreadable", why, where=str(place), fix=fix)
