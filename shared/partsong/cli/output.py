"""What commands print: data on stdout in the form asked for, talk on stderr; and how they end.

Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 the run did not complete, 5 timeout, 130 interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from partsong.contracts.errors import InvalidInput, NotFound, PartsongError, RunFailed

__all__ = ["EXIT", "Output", "output_option", "run_async"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

EXIT = {"failure": 1, "usage": 2, "not_found": 3, "run_failed": 4, "timeout": 5}


class Output:
    """Prints records as a table, as JSON, as JSON lines or as YAML."""

    def __init__(self, form: str) -> None:
        self.form = form

    def rows(self, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
        """Many records."""
        found = list(rows)
        match self.form:
            case "json":
                click.echo(json.dumps(found, indent=2, default=str))
            case "jsonl":
                for row in found:
                    click.echo(json.dumps(row, default=str))
            case "yaml":
                click.echo(_yaml(found), nl=False)
            case _:
                _table(found, columns)

    def record(self, record: Mapping[str, object]) -> None:
        """One record."""
        match self.form:
            case "json":
                click.echo(json.dumps(record, indent=2, default=str))
            case "jsonl":
                click.echo(json.dumps(record, default=str))
            case "yaml":
                click.echo(_yaml(record), nl=False)
            case _:
                width = max((len(key) for key in record), default=0)
                for key, value in record.items():
                    if value not in (None, "", (), [], {}):
                        click.echo(f"{key:<{width}}  {_cell(value)}")

    def line(self, record: Mapping[str, object], text: str) -> None:
        """One record of a stream, as it comes."""
        if self.form == "table":
            click.echo(text)
        else:
            click.echo(json.dumps(record, default=str))


def output_option(command: F) -> F:
    """`-o table|json|jsonl|yaml`."""
    option = click.option(
        "-o",
        "--output",
        "out",
        type=click.Choice(["table", "json", "jsonl", "yaml"]),
        default="table",
        show_default=True,
        callback=lambda _ctx, _param, value: Output(value),
        help="Form of the output.",
    )
    return option(command)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what goes wrong is printed and becomes its exit code."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except TimeoutError as error:
        click.echo(f"error: not finished in time: {error}", err=True)
        sys.exit(EXIT["timeout"])
    except PartsongError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(code_of(error))


def code_of(error: PartsongError) -> int:
    """The exit code of an error."""
    match error:
        case NotFound():
            return EXIT["not_found"]
        case RunFailed():
            return EXIT["run_failed"]
        case InvalidInput() if error.problem.code in {"run.unknown", "graph.unknown"}:
            return EXIT["not_found"]
        case InvalidInput():
            return EXIT["usage"]
        case _:
            return EXIT["failure"]


def _cell(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _table(rows: list[Mapping[str, object]], columns: Sequence[str]) -> None:
    cells = [[_cell(row.get(c)) if row.get(c) is not None else "" for c in columns] for row in rows]
    widths = [max([len(c), *(len(line[i]) for line in cells)]) for i, c in enumerate(columns)]
    click.echo("  ".join(c.upper().ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    for line in cells:
        click.echo("  ".join(t.ljust(w) for t, w in zip(line, widths, strict=True)).rstrip())


def _yaml(value: object) -> str:
    import yaml

    return str(
        yaml.safe_dump(
            json.loads(json.dumps(value, default=str)), sort_keys=False, allow_unicode=True
        )
    )
