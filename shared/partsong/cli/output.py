"""What commands print: data on stdout in the form asked for, talk on stderr."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any, Literal, TypeVar

import click

from partsong.runtime.visible import escaped, visible

__all__ = [
    "EXIT",
    "Form",
    "Output",
    "out_of",
    "output_option",
    "output_options",
    "pairs",
    "run_async",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Form = Literal["table", "wide", "json", "jsonl", "yaml"]
_FORMS = ("table", "wide", "json", "jsonl", "yaml")

EXIT = {
    "ok": 0, "failure": 1, "usage": 2, "not_found": 3, "run_failed": 4, "timeout": 5, "damaged": 78, "interrupted": 130,
}  # fmt: skip
"""How commands end."""

_COLORS = {
    "completed": "green", "running": "cyan", "waiting": "yellow", "queued": "yellow", "failed": "red",
    "cancelled": "magenta", "limit_exceeded": "red", "damaged": "red", "approved": "green", "rejected": "red", "pending": "yellow",
    "expired": "magenta", "ok": "green", "missing": "red",
}  # fmt: skip
_COLORED = frozenset({"status", "stands", "ok"})
"""The only columns and keys with color: those that say how something stands."""


@dataclass(slots=True)
class Output:
    """Prints records as a table, as JSON, as JSON lines or as YAML."""

    form: Form = "table"
    quiet: bool = False
    color: bool | None = None
    """None: where a terminal shows it."""
    given: tuple[str, ...] = ()
    """Options that say which log is meant, as they were typed: what is advised repeats them."""

    @property
    def plain(self) -> bool:
        """Whether a person reads it."""
        return self.form in {"table", "wide"}

    def rows(
        self,
        rows: Iterable[Mapping[str, object]],
        columns: Sequence[str],
        more: Sequence[str] = (),
    ) -> None:
        """Many records; a table has only these columns, a wide one `more` of them."""
        found = list(rows)
        match self.form:
            case "json":
                self._echo(_json(found, indent=2))
            case "jsonl":
                for row in found:
                    self._echo(_json(row))
            case "yaml":
                self._echo(_yaml(found))
            case "table" | "wide":
                shown = [*columns, *more] if self.form == "wide" else columns
                for line in _table(found, shown):
                    self._echo(line)

    def record(self, record: Mapping[str, object], *, most: int | None = None) -> bool:
        """One record; a table leaves out what is empty, and shortens what has more than `most` characters.

        Returns whether it did.
        """
        cut = False
        match self.form:
            case "json":
                self._echo(_json(record, indent=2))
            case "jsonl":
                self._echo(_json(record))
            case "yaml":
                self._echo(_yaml(record))
            case "table" | "wide":
                shown = {k: v for k, v in record.items() if v not in (None, "", (), [], {})}
                whole, shown = shown, {k: _shortened(v, most) for k, v in shown.items()}
                cut = shown != whole
                width = max(map(len, shown), default=0)
                for key, value in shown.items():
                    self._echo(
                        f"{click.style(visible(key).ljust(width), dim=True)}  {_styled(key, _cell(value))}"
                    )
        return cut

    def line(self, record: Mapping[str, object], text: str, *, status: str = "") -> None:
        """One record of a stream, as it comes: a line of text, or of JSON, or a YAML document.

        `status` stands before the text, in its color.
        """
        match self.form:
            case "table" | "wide":
                first = _styled("status", f"{visible(status, lines=False):<9}  ") if status else ""
                self._echo(first + visible(text))
            case "yaml":
                self._echo(f"---\n{_yaml(record)}")
            case "json" | "jsonl":
                self._echo(_json(record))

    def block(self, text: str | None) -> None:
        """Lines of text as they are, indented, below a table; a record in another form has them already."""
        if text and self.form == "table":
            self._echo(indent(visible(text), "    "))

    def say(self, text: str = "", *, end: str = "\n") -> None:
        """Talk to the person at the terminal; programs do not read it."""
        if not self.quiet:
            click.echo(visible(text), err=True, nl=False, color=self.color)
            click.echo(end, err=True, nl=False)

    def _echo(self, text: str) -> None:
        click.echo(text, color=self.color)


def output_option(command: F) -> F:
    """`-o`, `--quiet` and `--no-color`, here or before the subcommand; the command gets `out`."""
    for words, settings in reversed(_OPTIONS):
        command = click.option(*words, **settings)(command)
    return command


def output_options() -> list[click.Parameter]:
    """The same options for a group, which hands on what they say to its commands."""
    return [
        click.Option(words, **{**settings, "expose_value": False}) for words, settings in _OPTIONS
    ]


def out_of(ctx: click.Context) -> Output:
    """The one output of this invocation."""
    return ctx.find_root().ensure_object(Output)


def _chosen(ctx: click.Context, _param: click.Parameter, value: Form | None) -> Output:
    out = out_of(ctx)
    out.form = value or out.form
    return out


def _silenced(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's signature
    out = out_of(ctx)
    out.quiet = out.quiet or value


def _uncolored(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001
    out = out_of(ctx)
    out.color = False if value or os.environ.get("NO_COLOR") else out.color  # whatever it holds


_OPTIONS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-o", "--output", "out"),
        {
            "type": click.Choice(_FORMS),
            "callback": _chosen,
            "help": "Form of the output; wide is a table with more columns.  [default: table]",
        },
    ),
    (
        ("-q", "--quiet"),
        {
            "is_flag": True,
            "expose_value": False,
            "callback": _silenced,
            "is_eager": True,
            "help": "Data and errors only.",
        },
    ),
    (
        ("--no-color",),
        {
            "is_flag": True,
            "expose_value": False,
            "callback": _uncolored,
            "is_eager": True,
            "help": "No colors.  [env: NO_COLOR]",
        },
    ),
)
"""Of every command that prints data."""


def pairs(labels: Mapping[str, object]) -> str:
    """Labels as a person reads them: `a=1, b=2`."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work; what goes wrong is for `main` to print."""
    return asyncio.run(work)


def _json(value: object, indent: int | None = None) -> str:
    return escaped(json.dumps(value, indent=indent, default=str, ensure_ascii=False))


def _yaml(value: object) -> str:
    from partsong.cli import yaml12

    return escaped(yaml12.dump(json.loads(json.dumps(value, default=str))).rstrip("\n"))


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else _json(value)
    return visible(" ".join(text.split()) if "\n" in text else text, lines=False)


def _shortened(value: object, most: int | None) -> object:
    from partsong.cli.shortened import shortened

    return value if most is None else shortened(value, most)


def _styled(column: str, text: str) -> str:
    color = _COLORS.get(text.strip()) if column in _COLORED else None
    return click.style(text, fg=color) if color else text


def _table(rows: list[Mapping[str, object]], columns: Sequence[str]) -> list[str]:
    """Lines under a head; the last column is as long as it likes."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(c), *(len(line[i]) for line in cells), 0) for i, c in enumerate(columns)]
    widths[-1] = 0
    head = "  ".join(c.upper().ljust(w) for c, w in zip(columns, widths, strict=True))
    lines = [
        "  ".join(
            _styled(column, text.ljust(w))
            for column, text, w in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in cells
    ]
    return [click.style(head.rstrip(), bold=True), *lines]
