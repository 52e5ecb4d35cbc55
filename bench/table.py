"""A result as a table for people."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.harness import Result
from bench.row import Row, shown

__all__ = ["show"]

_NARROWEST = 140


def show(result: Result, console: Console) -> None:
    """Print the figures, the machine they were measured on, and what went wrong."""
    if not console.is_terminal:
        console.width = max(console.width, _NARROWEST)
    table = Table(title=_title(result), title_justify="left", header_style="bold")
    for heading in ("work", "measured", "bar", "", "others, same machine, same run"):
        table.add_column(heading, justify="right" if heading in {"measured", "bar"} else "left")
    for row in result.rows:
        table.add_row(
            _work(row), shown(row.value, row.unit), row.bar or "", _verdict(row), _others(row)
        )
    console.print(table)
    for problem in result.problems:
        console.print(problem, style="red", markup=False)


def _title(result: Result) -> str:
    machine = result.machine
    quick = ", quick (rough figures)" if result.quick else ""
    return (
        f"{result.time}, {machine.system}, {machine.cpus} cores, Python {machine.python}, "
        f"load {machine.load:.1f}, fsync of 4 KB {machine.fsync_ms:.2f} ms{quick}"
    )


def _work(row: Row) -> str:
    note = f" [dim]({row.note})[/dim]" if row.note else ""
    return f"{row.work}{note}\n[dim]{row.name}[/dim]"


def _verdict(row: Row) -> str:
    match row.holds:
        case True:
            return "[green]holds[/green]"
        case False:
            return "[red]missed[/red]"
        case None:
            return ""


def _others(row: Row) -> str:
    return "\n".join(f"{title}: {peer}" for title, peer in row.peers.items())
