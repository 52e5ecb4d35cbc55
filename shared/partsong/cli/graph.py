"""`partsong graph`: check a graph, look at it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from partsong.cli.output import EXIT, Output, output_option

if TYPE_CHECKING:
    from partsong.contracts.graph import Graph

__all__ = ["command"]


@click.group()
def command() -> None:
    """Check a graph, look at it."""


@command.command()
@click.argument("graph")
@output_option
def validate(graph: str, out: Output) -> None:
    """Check GRAPH (a YAML or JSON file, or MODULE:ATTRIBUTE): all that is wrong with it, with file and line.

    Exit code 2 if it is not valid.
    """
    from partsong.cli.failures import tell
    from partsong.cli.graphs import problems_of

    problems = problems_of(graph)
    for problem in problems:
        tell(problem, out)
    if problems:
        sys.exit(EXIT["usage"])
    found = _graph(graph)
    if out.form == "table":
        size = f"{len(found.nodes)} nodes, {len(found.edges)} edges"
        click.echo(f"{found.name}: valid, {size}, {found.hash}")
    else:
        out.record({"name": found.name, "valid": True, "hash": found.hash})


@command.command()
@click.argument("graph")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="As a Mermaid flowchart.")
@output_option
def show(graph: str, *, as_mermaid: bool, out: Output) -> None:
    """Print GRAPH (a YAML or JSON file, or MODULE:ATTRIBUTE) as data or as a picture."""
    from partsong.cli.mermaid import mermaid

    found = _graph(graph)
    if as_mermaid:
        click.echo(mermaid(found))
    elif out.form == "table":
        nodes = [{"node": name, **_node(found, name)} for name in found.nodes]
        out.rows(nodes, ("node", "type", "leads_to", "what"))
    else:
        out.record({**found.spec(), "hash": found.hash})


def _node(graph: Graph, name: str) -> dict[str, object]:
    node = graph.nodes[name].model_dump(exclude_defaults=True)
    leads = [f"{e.to} on {e.on}" if e.on else e.to for e in graph.edges if e.source == name]
    words = [str(v) for k in ("function", "tool", "title") if (v := node.get(k))]
    words += [str(node["agent"]["model"])] if "agent" in node else []
    return {
        "type": graph.nodes[name].type,
        "leads_to": ", ".join(leads) or "END",
        "what": " ".join(words),
    }


def _graph(text: str) -> Graph:
    from partsong.cli.graphs import load_graph
    from partsong.contracts.errors import NotFound

    found = load_graph(text)
    if isinstance(found, str):
        raise NotFound(
            "graph.not_found",
            f"{text!r} is neither a .yaml, .yml or .json file nor MODULE:ATTRIBUTE",
            where=text,
        )
    return found
