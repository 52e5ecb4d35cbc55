"""Graphs as people name them on a command line: a file, `module:attribute`, or a name the bus knows."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from pydantic import JsonValue

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import END, Graph
from partsong.contracts.validate import parse_graph

__all__ = ["load_graph", "mermaid"]


def load_graph(text: str) -> Graph | str:
    """The graph, or the name itself if it is neither a file nor `module:attribute`.

    Raises:
        InvalidInput: the file cannot be read, the module not imported, or the graph is not valid.
    """
    path = Path(text)
    if path.suffix in {".yaml", ".yml", ".json"}:
        return parse_graph(_parsed(path), where=path.name)
    module, colon, name = text.partition(":")
    if not colon or module == "sha256":
        return text
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            "graph.not_found",
            f"{text}: {error}",
            where=text,
            fix="give MODULE:ATTRIBUTE of a WorkflowGraph, or of a function that returns one",
        ) from error
    if callable(found) and not hasattr(found, "spec"):
        found = found()
    if isinstance(found, Graph):
        return found
    graph: Graph = found.spec()
    return graph


def _parsed(path: Path) -> JsonValue:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            "graph.unreadable", f"{path}: {error.strerror}", where=str(path)
        ) from error
    try:
        value: JsonValue = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise InvalidInput(
            "graph.unreadable", f"{path} cannot be parsed: {error}", where=str(path)
        ) from error
    return value


_SHAPES = {
    "function": ("[", "]"),
    "agent": ("([", "])"),
    "tool": ("[[", "]]"),
    "approval": ("{{", "}}"),
}


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart; labels stand on their edges."""
    lines = ["flowchart TD"]
    for name, node in graph.nodes.items():
        left, right = _SHAPES[node.type]
        lines.append(f'  {name}{left}"{name}"{right}')
    lines.append(f"  START((start)) --> {graph.entry}")
    if any(edge.to == END for edge in graph.edges):
        lines.append("  END((end))")
    lines += [f"  {e.source} -->{f'|{e.on}|' if e.on else ''} {e.to}" for e in graph.edges]
    return "\n".join(lines)
