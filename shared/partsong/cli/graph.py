"""`partsong graph`: check a graph, look at it."""

from __future__ import annotations

import sys

import click

from partsong.cli.output import Output, output_option, run_async

__all__ = ["command"]


@click.group()
def command() -> None:
    """Check a graph, look at it."""


@command.command()
@click.argument("graph")
def validate(graph: str) -> None:
    """Check GRAPH (a YAML or JSON file, or MODULE:ATTRIBUTE). Exit code 2 if it is not valid."""

    async def work() -> None:
        from partsong.cli.graphs import load_graph
        from partsong.contracts.errors import NotFound

        found = load_graph(graph)
        if isinstance(found, str):
            raise NotFound(
                "graph.not_found",
                f"{graph!r} is neither a .yaml, .yml or .json file nor MODULE:ATTRIBUTE",
                where=graph,
            )
        click.echo(
            f"{found.name}: valid, {len(found.nodes)} nodes, {len(found.edges)} edges, {found.hash}"
        )

    run_async(work())


@command.command()
@click.argument("graph")
@click.option("--mermaid", "as_mermaid", is_flag=True, help="As a Mermaid flowchart.")
@output_option
def show(graph: str, *, as_mermaid: bool, out: Output) -> None:
    """Print GRAPH (a YAML or JSON file, or MODULE:ATTRIBUTE) as data or as a picture."""

    async def work() -> None:
        from partsong.cli.graphs import load_graph
        from partsong.cli.mermaid import mermaid
        from partsong.contracts.errors import NotFound

        found = load_graph(graph)
        if isinstance(found, str):
            raise NotFound(
                "graph.not_found", f"{graph!r} is neither a file nor MODULE:ATTRIBUTE", where=graph
            )
        if as_mermaid:
            click.echo(mermaid(found))
        else:
            out.record({**found.spec(), "hash": found.hash})

    sys.exit(run_async(work()))
