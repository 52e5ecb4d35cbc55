"""`partsong graph`: check a graph, look at it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.options import Address, address_options
from partsong.cli.output import EXIT, Output, output_option, run_async
from partsong.runtime.visible import visible

if TYPE_CHECKING:
    from partsong.cli.trail import Trail
    from partsong.contracts.graph import Graph

__all__ = ["command"]


@click.group(cls=Group)
def command() -> None:
    """Check a graph, look at it."""


@command.command(epilog="Example: partsong graph validate refund.yaml")
@click.argument("graph")
@output_option
def validate(graph: str, out: Output) -> None:
    """Check GRAPH (a YAML or JSON file, MODULE:ATTRIBUTE, or team:NAME): all that is wrong with it, with file and line.

    Exit code 2 if it is not valid; 1 if packages are missing without which it cannot be checked.
    """
    from partsong.cli.failures import tell
    from partsong.cli.graphs import local_graph, problems_of
    from partsong.contracts.graph.lacking import lacking

    problems = problems_of(graph)
    for problem in problems:
        tell(problem, out)
    if problems:
        sys.exit(EXIT["usage"])
    found = local_graph(graph)
    for missing in (unchecked := lacking(found)):
        tell(missing, out)
    if unchecked:
        sys.exit(EXIT["failure"])
    if out.plain:
        size = f"{len(found.nodes)} nodes, {len(found.edges)} edges"
        click.echo(visible(f"{found.name}: valid, {size}, {found.hash}"))
    else:
        out.record({"name": found.name, "valid": True, "hash": found.hash})


@command.command(epilog="Example: partsong graph show --run r_1 --mermaid --expand")
@click.argument("graph", required=False)
@click.option("--mermaid", "form", flag_value="mermaid", help="As a Mermaid flowchart.")
@click.option("--dot", "form", flag_value="dot", help="As a picture for Graphviz.")
@click.option("--json", "form", flag_value="json", help="As a graph file in JSON.")
@click.option("--yaml", "form", flag_value="yaml", help="As a graph file in YAML.")
@click.option("--expand", is_flag=True, help="With what is inside subgraphs and maps.")
@click.option(
    "--run", "run_id", metavar="RUN_ID", help="The graph of a run, and its path through it."
)
@address_options
@output_option
def show(
    graph: str | None,
    form: str | None,
    *,
    expand: bool,
    run_id: str | None,
    address: Address,
    out: Output,
) -> None:
    """Print GRAPH (a YAML or JSON file, MODULE:ATTRIBUTE, team:NAME, or a name the bus knows) as a table, a picture or a file."""
    if graph is None and run_id is None:
        raise click.UsageError("give a GRAPH, or a run with --run")
    from partsong.cli.graph_table import columns, observed, rows

    found, trail = _found(graph, run_id, address)
    match form:
        case "mermaid" | "dot":
            click.echo(visible(_picture(found, trail, form, expand=expand)))
        case "json" | "yaml":
            Output(form).record(found.spec())
        case _ if out.plain:
            out.rows(rows(found, trail, expand=expand), columns(trail))
        case _:
            seen = {"run_id": run_id, **observed(trail)} if trail is not None else {}
            out.record({**found.spec(), "hash": found.hash, **seen})


def _found(graph: str | None, run_id: str | None, address: Address) -> tuple[Graph, Trail | None]:
    """The graph, and the path of the run, if one is asked for."""
    from partsong.cli.graphs import known_graph, load_graph, path_of_run, same

    async def work() -> tuple[Graph, Trail | None]:
        given = load_graph(graph) if graph is not None else None
        if isinstance(given, str):
            given = await known_graph(given, address)
        if run_id is None:
            assert given is not None  # noqa: S101  # one of the two is given
            return given, None
        ran, trail = await path_of_run(run_id, address)
        return same(given, ran, run_id), trail

    return run_async(work())


def _picture(graph: Graph, trail: Trail | None, form: str, *, expand: bool) -> str:
    from partsong.cli.dot import dot
    from partsong.cli.drawing import drawing
    from partsong.cli.mermaid import mermaid

    drawn = drawing(graph, expand=expand, trail=trail)
    return mermaid(drawn) if form == "mermaid" else dot(drawn, graph.name)
