"""A graph from a YAML or JSON file, with errors that name the line.

The graph of a subgraph or map may be another file: `graph: steps/refund.yaml`, relative to the file that says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import yaml
from pydantic import JsonValue

from partsong.cli import yaml12
from partsong.contracts.durations import INVALID
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import START, Graph
from partsong.contracts.graph.validate import parse_graph, problems_in

__all__ = ["SUFFIXES", "check_graph_file", "parse", "read_graph", "read_text"]

_STAND_IN: JsonValue = {
    "name": "unread",
    "entry": "n",
    "nodes": {"n": {"type": "function", "function": "stand:in"}},
}
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
"""How a file's name says that it may be a graph."""


@dataclass(frozen=True, slots=True)
class _Source:
    """A file, the spec it gives, and the files that parts of it come from."""

    path: Path
    text: str
    spec: JsonValue
    inner: Mapping[tuple[str, ...], _Source] = field(default_factory=dict)
    """By place in the spec."""
    wrong: Sequence[Problem] = ()
    """Files inside it that cannot be read; something stands in their places."""


def read_graph(path: Path) -> Graph:
    """The graph in a file.

    Raises:
        InvalidInput: `file.unreadable`, or what is wrong with the graph; `where` begins with file and line.
    """
    source = _read(path, ())
    if source.wrong:
        raise InvalidInput.all_of(check_graph_file(path))
    try:
        return parse_graph(source.spec)
    except InvalidInput as error:
        wrong = problems_in(source.spec) or [error.problem]
        raise InvalidInput.all_of([_located(problem, source) for problem in wrong]) from error


def check_graph_file(path: Path) -> list[Problem]:
    """All that is wrong with the graph in a file; each `where` begins with file and line.

    Raises:
        InvalidInput: `file.unreadable`.
    """
    source = _read(path, ())
    return [*source.wrong, *(_located(problem, source) for problem in problems_in(source.spec))]


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
            return cast("JsonValue", json.loads(text, object_pairs_hook=_once))
        return yaml12.load(text)
    except json.JSONDecodeError as error:
        raise _unreadable(f"{path}:{error.lineno}", error.msg) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}" if mark else path
        raise _unreadable(place, error.problem or str(error)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    except RecursionError:
        raise _unreadable(path, "it is nested too deep to be read") from None


def _with_name(spec: JsonValue, path: Path) -> JsonValue:
    """The spec; a graph that does not say its name has that of its file."""
    if not isinstance(spec, dict) or "name" in spec:
        return spec
    return {"name": re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem).strip("-") or "graph", **spec}


def _read(path: Path, outer: tuple[Path, ...]) -> _Source:
    """The file, with the files it names put into their places."""
    reader = _Reader(path, read_text(path), (*outer, path))
    spec = _with_name(reader.graph(parse(path, reader.text), ()), path)
    return _Source(path, reader.text, spec, reader.inner, reader.wrong)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the graphs inside one file's graph."""

    path: Path
    text: str
    open: tuple[Path, ...]
    """The files that are being read, this one last."""
    inner: dict[tuple[str, ...], _Source] = field(default_factory=dict)
    wrong: list[Problem] = field(default_factory=list)

    def graph(self, spec: JsonValue, place: tuple[str, ...]) -> JsonValue:
        nodes = spec.get("nodes") if isinstance(spec, dict) else None
        if not isinstance(spec, dict) or not isinstance(nodes, dict):
            return spec
        whole = {name: self.node(node, (*place, "nodes", name)) for name, node in nodes.items()}
        return {**spec, "nodes": whole}

    def node(self, node: JsonValue, place: tuple[str, ...]) -> JsonValue:
        if not isinstance(node, dict) or "graph" not in node:
            return node
        found, place = node["graph"], (*place, "graph")
        if not isinstance(found, str):
            return {**node, "graph": self.graph(found, place)}
        try:
            self.inner[place] = _read(self._named(found, place), self.open)
        except InvalidInput as error:
            self.wrong.append(self._named_here(error.problem, found, place))
            return {**node, "graph": _STAND_IN}
        self.wrong.extend(self.inner[place].wrong)
        return {**node, "graph": self.inner[place].spec}

    def _named_here(self, problem: Problem, name: str, place: tuple[str, ...]) -> Problem:
        """What is wrong with a file that names no line of its own is said where it is named."""
        if problem.where != str(self.path.parent / name):
            return problem
        where = _place(self.path, self.text, place)
        return problem.model_copy(update={"where": where, "message": f"{name}: {problem.message}"})

    def _named(self, name: str, place: tuple[str, ...]) -> Path:
        """The file that is named as the graph at a place."""
        found = self.path.parent / name
        where = _place(self.path, self.text, place)
        if found.suffix not in SUFFIXES:
            raise InvalidInput(
                "graph.not_a_file",
                f"{name!r} is not the name of a {', '.join(sorted(SUFFIXES))} file",
                where=where,
                fix="write the graph here, or the path of its file, relative to this one",
            )
        if found.resolve() in {path.resolve() for path in self.open}:
            chain = " in ".join(path.name for path in (found, *reversed(self.open)))
            raise InvalidInput("graph.recursive", f"{name} is inside itself: {chain}", where=where)
        return found


def _located(problem: Problem, source: _Source) -> Problem:
    """The problem with file and line before its place."""
    tokens = re.findall(r"[^.\[\]]+", (problem.where or "").removeprefix("graph"))
    if problem.code in {"graph.malformed", INVALID}:
        tokens = _without_types(tokens)
    while inside := next((p for p in source.inner if tuple(tokens[: len(p)]) == p), None):
        source, tokens = source.inner[inside], tokens[len(inside) :]
    said = f" ({problem.where})" if problem.where else ""
    where = _place(source.path, source.text, tokens) + said
    return problem.model_copy(update={"where": where})


def _without_types(tokens: list[str]) -> list[str]:
    """The parser names each node's type behind its name, which the file does not."""
    if tokens[:1] != ["nodes"] or len(tokens) < 3:
        return tokens
    head, rest = tokens[:2], tokens[3:]
    if rest[:1] == ["graph"]:
        return [*head, "graph", *_without_types(rest[1:])]
    return [*head, *rest]


def _place(path: Path, text: str, tokens: Sequence[str]) -> str:
    """The file, with the line of the deepest part of it that the tokens lead to."""
    try:
        node = yaml12.compose(text.replace("\t", " ") if path.suffix == ".json" else text)
    except yaml.YAMLError:  # JSON that is not YAML: it has keys of more than a thousand characters
        return str(path)
    line = node.start_mark.line if node else 0
    left = list(tokens)
    while left and (found := _step(node, left)) is not None:
        mark, node, taken = found
        line, left = mark.start_mark.line, left[taken:]
    return f"{path}:{line + 1}"


def _step(node: yaml.Node | None, tokens: list[str]) -> tuple[yaml.Node, yaml.Node, int] | None:
    """What the first tokens lead to: the key or item, the value, and how many they are, as a key may hold dots."""
    match node:
        case yaml.MappingNode(value=pairs):
            for taken in range(1, len(tokens) + 1):
                name = ".".join(tokens[:taken])
                for key, value in pairs:
                    if key.value == name:
                        return key, value, taken
            begins = [edge for edge in _edges(pairs) if _is_start(edge)]
            return (begins[-1], begins[-1], 1) if tokens[0] == "entry" and begins else None
        case yaml.SequenceNode(value=items) if tokens[0].isdigit():
            kept = [item for item in items if not _is_start(item)]
            item = kept[int(tokens[0])] if int(tokens[0]) < len(kept) else None
            return (item, item, 1) if item is not None else None
        case _:
            return None


def _edges(pairs: list[tuple[yaml.Node, yaml.Node]]) -> list[yaml.Node]:
    edges = next((value for key, value in pairs if key.value == "edges"), None)
    return list(edges.value) if isinstance(edges, yaml.SequenceNode) else []


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
