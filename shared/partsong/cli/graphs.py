"""Graphs as people name them on a command line: a file, `module:attribute`, or a name the bus knows."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from partsong.cli.graph_file import SUFFIXES, check_graph_file, read_graph
from partsong.contracts.errors import InvalidInput, Problem
from partsong.contracts.graph import Graph
from partsong.workflow import WorkflowGraph

__all__ = ["load_graph", "problems_of"]


def load_graph(text: str) -> Graph | str:
    """The graph, or the name itself if it is neither a file nor `module:attribute`.

    Raises:
        InvalidInput: the file cannot be read, the module not imported, or the graph is not valid.
    """
    path = Path(text)
    if path.suffix in SUFFIXES:
        return read_graph(path)
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
    if callable(found):
        found = found()
    if isinstance(found, Graph):
        return found
    if not isinstance(found, WorkflowGraph):
        raise InvalidInput(
            "graph.not_a_graph", f"{text} is a {type(found).__name__}, not a graph", where=text
        )
    return found.spec()


def problems_of(text: str) -> list[Problem]:
    """All that is wrong with the graph in a file; a graph from anywhere else was checked where it was made.

    Raises:
        InvalidInput: the file cannot be read.
    """
    path = Path(text)
    return check_graph_file(path) if path.suffix in SUFFIXES else []
