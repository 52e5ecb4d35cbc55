"""Options that many commands share."""

from __future__ import annotations

import functools
import json
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from partsong.cli.output import out_of
from partsong.runtime.visible import without_password

if TYPE_CHECKING:
    from pydantic import JsonValue

    from partsong.client import Client

__all__ = [
    "DEADLINE",
    "DURATION",
    "DURATION_OR_ZERO",
    "Address",
    "address_options",
    "data_option",
    "given_options",
    "label_option",
    "parse_edit",
    "parse_inputs",
    "parse_value",
]

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

_UNFIT = re.compile(r"[^A-Za-z0-9_\-]")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the bus is."""

    url: str | None
    prefix: str | None
    data: Path
    """Data directory of the services: their marks of the log, and a note of the `partsong up` that runs on it."""
    given: tuple[str, ...] = ()
    """What of it was typed, as words of a command line, for commands that are advised."""

    def client(self) -> Client:
        """A client that is not connected yet.

        Raises:
            Unavailable: `nats.unknown`: no server is given, and no platform runs on the data directory.
        """
        from partsong.client import Client
        from partsong.client.where import find_caller, find_nats

        # Commands are many clients and one caller: who runs a thousand of them has one lane.
        own = f"cli@{_UNFIT.sub('-', platform.node())[:100]}"
        url = find_nats(self.url, data=self.data)
        caller = find_caller(otherwise=own)
        return Client(url, prefix=self.prefix, caller=caller, data=self.data)


class _Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions alone
    """A duration, as seconds."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002  # click's
    ) -> float:
        """Raises `duration.invalid`, which lists the forms."""
        from partsong.contracts.durations import parse_duration

        return parse_duration(value, _named(param), zero=self._zero)


class _Deadline(click.ParamType):  # type: ignore[type-arg]
    """A moment, or a duration that is kept as one, so that the same command twice asks for the same."""

    name = "moment|duration"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002  # click's
    ) -> str:
        """Raises `run.bad_deadline`, which lists the forms."""
        from partsong.contracts.deadlines import parse_deadline

        return parse_deadline(value, _named(param))


def _named(param: click.Parameter | None) -> str:
    return param.opts[0] if param is not None else "option"


DURATION = _Duration()
"""Type of options that take more than no time."""
DURATION_OR_ZERO = _Duration(zero=True)
"""Type of options that take a time, or none."""
DEADLINE = _Deadline()
"""Type of options that take a moment or a duration."""


def data_option(says: str) -> Callable[[F], F]:
    """`--data`, which says what the directory is to the command; the command gets `data`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".partsong"),
        envvar="PARTSONG_DATA",
        show_default=True,
        show_envvar=True,
        help=says,
    )


def address_options(command: Callable[..., R]) -> Callable[..., R]:
    """`--nats`, `--prefix` and `--data`; the command gets `address`."""

    @functools.wraps(command)
    def addressed(
        *args: Any, nats_url: str | None, prefix: str | None, data: Path, **named: Any
    ) -> R:
        typed = (
            ("--nats", "nats_url", nats_url),
            ("--prefix", "prefix", prefix),
            ("--data", "data", data),
        )
        given = given_options(typed)
        out_of(click.get_current_context()).given = given
        return command(*args, address=Address(nats_url, prefix, data, given), **named)

    url = click.option(
        "--nats", "nats_url", metavar="URL", help="NATS server.  [env: PARTSONG_NATS_URL]"
    )
    first = click.option(
        "--prefix", help="First token of every subject.  [env: PARTSONG_PREFIX; default: partsong]"
    )
    data = data_option("Data directory of the services: their marks, and where `partsong up` runs.")
    return url(first(data(addressed)))


def given_options(options: Iterable[tuple[str, str, object]]) -> tuple[str, ...]:
    """Those of some options, `(word, parameter, value)`, that were typed, as words of a command line to be shown."""
    ctx = click.get_current_context()
    return tuple(
        word
        for name, parameter, value in options
        if ctx.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
        for word in (name, without_password(str(value), instead="USER:PASSWORD@"))
    )


def label_option(command: F) -> F:
    """`--label`; the command gets `labels`."""
    return click.option(
        "--label", "labels", multiple=True, metavar="KEY=VALUE", callback=_labels,
        help="Label of the run; may be repeated.",
    )(command)  # fmt: skip


def _labels(_ctx: click.Context, _param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{pair!r} is not KEY=VALUE")
        if found.setdefault(key, text) != text:
            raise click.BadParameter(f"{key!r} is given twice, as {found[key]!r} and {text!r}")
    return found


def parse_inputs(pairs: tuple[str, ...], option: str = "-i") -> dict[str, JsonValue]:
    """`k=v` (JSON if it is JSON, else text) and `@file` (a JSON or YAML object); later ones win.

    Raises:
        InvalidInput: naming the one that is neither.
    """
    from partsong.contracts.errors import InvalidInput

    found: dict[str, JsonValue] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if pair.startswith("@"):
            found.update(_from_file(Path(pair[1:]), option))
        elif equals and key:
            found[key] = parse_value(text)
        else:
            said = f"{pair!r} is neither k=v nor @file"
            raise InvalidInput("input.malformed", said, where=option)
    return found


def parse_edit(text: str | None) -> JsonValue:
    """An approver's edit: JSON, or `@file` with JSON or YAML.

    Raises:
        InvalidInput: it is neither, or null.
    """
    from partsong.contracts.errors import InvalidInput

    if text is None:
        return None
    try:
        value: JsonValue = _file(Path(text[1:])) if text.startswith("@") else _json(text)
    except ValueError as error:
        said = f"{text[:80]!r} is neither JSON nor @file: {error}"
        raise InvalidInput("input.malformed", said, where="--edit") from None
    if value is None:
        raise InvalidInput("input.malformed", "null takes the place of nothing", where="--edit")
    return value


def parse_value(text: str) -> JsonValue:
    """JSON if it is JSON, else the text itself."""
    try:
        value: JsonValue = _json(text)
    except ValueError:
        return text
    return value


def _json(text: str) -> JsonValue:
    """The value of a JSON text.

    Raises:
        InvalidInput: it is nested deeper than anybody could read it.
        ValueError: it is none.
    """
    from partsong.contracts.errors import InvalidInput

    try:
        value: JsonValue = json.loads(text)
    except RecursionError:
        said = f"{text[:40]!r}… is nested too deep to be read"
        raise InvalidInput("input.malformed", said, fix="nest it less deep") from None
    return value


def _file(path: Path) -> JsonValue:
    from partsong.cli.graph_file import parse, read_text

    return parse(path, read_text(path))


def _from_file(path: Path, option: str) -> dict[str, JsonValue]:
    from partsong.contracts.errors import InvalidInput

    value = _file(path)
    if not isinstance(value, dict):
        said = f"{path} holds a {type(value).__name__}, not an object"
        raise InvalidInput("input.malformed", said, where=option)
    return value
