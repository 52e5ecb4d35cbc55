"""What commands print: forms, and colors only where they say how something stands."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from partsong.cli.output import Output, output_option

ROWS = ({"run_id": "failed", "status": "failed", "graph": "running"},)
RED = "\x1b[31mfailed\x1b[0m"


@click.command()
@output_option
def listing(out: Output) -> None:
    out.color = True if out.color is None else out.color
    out.rows(ROWS, ("run_id", "status", "graph"), ("more",))


@click.command()
@output_option
def record(out: Output) -> None:
    out.color = True if out.color is None else out.color
    out.record(ROWS[0])


def said(command: click.Command, *words: str, **env: str) -> str:
    done = CliRunner().invoke(command, words, env={"NO_COLOR": None, **env}, color=True)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("command", [listing, record])
def test_only_the_status_has_a_color(command: click.Command) -> None:
    text = said(command)
    assert text.count(RED) == 1
    assert "\x1b[36m" not in text, "a graph that is called like a status"


@pytest.mark.parametrize("env", ["1", "yes", "whatever it is"])
def test_no_color_is_respected_whatever_it_holds(env: str) -> None:
    assert "\x1b" not in said(listing, NO_COLOR=env)


def test_an_empty_no_color_says_nothing() -> None:
    assert RED in said(listing, NO_COLOR="")


def test_no_color_is_an_option_too() -> None:
    assert "\x1b" not in said(record, "--no-color")


def test_a_wide_table_has_more_columns() -> None:
    assert "MORE" not in said(listing)
    assert said(listing, "-o", "wide", "--no-color").split() == [
        "RUN_ID", "STATUS", "GRAPH", "MORE", "failed", "failed", "running",
    ]  # fmt: skip
