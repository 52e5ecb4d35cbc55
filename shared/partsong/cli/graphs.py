"""Graphs as people name them on a command line: a file, `module:attribute`, `team:name`, a name the bus knows, or by a run."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from partsong.cli.graph_file import SUFFIXES, check_graph_file, read_graph
from partsong.contracts.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable
from partsong.contracts.events import CallRequested, Parent
from partsong.contracts.graph import Graph
from partsong.contracts.state.state import Origin
from partsong.contracts.wire.work import child_of_v0
from partsong.workflow import WorkflowGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partsong.cli.options import Address
    from partsong.cli.trail import Trail
    from partsong.client import Client
    from partsong.contracts.events import Event

__all__ = ["known_graph", "load_graph", "local_graph", "path_of_run", "problems_of", "same"]


def load_graph(text: str) -> Graph | str:
    """The graph, or the name itself if it is neither a file nor `module:attribute` nor `team:name`.

    Raises:
        InvalidInput: the file cannot be read, the module not imported, or the graph is not valid.
    """
    path = Path(text)
    if path.suffix in SUFFIXES:
        return read_graph(path)
    module, colon, name = text.partition(":")
    if not colon or module == "sha256":
        return text
    if module == "team":
        from partsong.teams import team

        return team(name).spec()
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
    """All that is wrong with a graph in a file, or at `module:attribute`.

    Raises:
        NotFound: `graph.not_found`, it is neither.
        InvalidInput: the file cannot be read.
    """
    path = Path(text)
    if path.suffix in SUFFIXES:
        return check_graph_file(path)
    try:
        local_graph(text)
    except InvalidInput as error:
        return list(error.problems)
    return []


def local_graph(text: str) -> Graph:
    """The graph in a file or at `module:attribute`.

    Raises:
        NotFound: `graph.not_found`, it is neither.
        InvalidInput: it cannot be read, or is not valid.
    """
    found = load_graph(text)
    if isinstance(found, str):
        raise _nowhere(text)
    return found


async def known_graph(name: str, address: Address) -> Graph:
    """The graph of a name or hash that the bus knows.

    Raises:
        NotFound: `graph.unknown`; `graph.not_found` if there is no bus to ask.
    """
    try:
        async with address.client() as client:
            return await client.graph(name)
    except Unavailable as error:
        if error.problem.code != "nats.unknown":
            raise
        raise _nowhere(name, ", and there is no bus to ask") from error


async def path_of_run(run_id: str, address: Address) -> tuple[Graph, Trail]:
    """A run's graph, and its path through it: in the runs it was forked from, too, and in those that it waited for.

    Raises:
        NotFound: `run.unknown`.
    """
    async with address.client() as client:
        graph = (await client.state(run_id)).graph
        assert graph is not None  # noqa: S101  # `client.state` raises before
        return graph, await _path(client, run_id)


async def _path(client: Client, run_id: str) -> Trail:
    from partsong.cli.trail import trail

    state = await client.state(run_id)
    events: list[Event] = []
    children: dict[str, str] = {}
    for origin in (*reversed(await client.lineage(run_id)), Origin(run_id, sys.maxsize)):
        with suppress(NotFound):  # its log is kept no longer
            here = client.events(origin.run_id)
            came = [placed.event async for placed in here if placed.seq <= origin.seq]
            children.update(_children(origin.run_id, came))
            events += came
    path = trail(state, events)
    for child, exec_id in children.items():
        with suppress(NotFound):  # or it was asked for, and has not begun yet
            path = path.around(exec_id, await _path(client, child))
    return path


def _children(run_id: str, events: list[Event]) -> Iterator[tuple[str, str]]:
    """The runs that a run's detached subgraphs asked for, each with the execution that did."""
    for event in events:
        if isinstance(event, CallRequested) and event.kind == "run":
            parent = Parent(run_id=run_id, call_id=event.call_id, attempt=event.attempt)
            yield event.child or child_of_v0(parent), event.exec


def same(given: Graph | None, ran: Graph, run_id: str) -> Graph:
    """The run's graph.

    Raises:
        Conflict: `graph.not_the_runs`, another one was given.
    """
    if given is not None and given.hash != ran.hash:
        raise Conflict(
            "graph.not_the_runs",
            f"run {run_id} has another graph: {ran.name} {ran.hash[:19]}…, given is {given.name} {given.hash[:19]}…",
            where="--run",
            fix="leave GRAPH out to see the graph that the run has",
        )
    return ran


def _nowhere(text: str, more: str = "") -> NotFound:
    said = f"{text!r} is neither a .yaml, .yml or .json file nor MODULE:ATTRIBUTE{more}"
    return NotFound("graph.not_found", said, where=text)
