"""Groups of commands: the output's options before the command's name, and what is meant by one that was mistyped."""

from __future__ import annotations

from collections.abc import Sequence

import click
import pytest
from click.testing import CliRunner, Result

from partsong.cli.group import Group
from partsong.cli.main import root
from partsong.cli.output import Output, output_option


@click.group(cls=Group)
def shelf() -> None:
    """Two commands and a group in one."""


@shelf.command("list")
@output_option
def list_(out: Output) -> None:
    out.rows([{"name": "a", "size": 1}], ("name",), ("size",))


@shelf.group(cls=Group)
def deep() -> None:
    """A group in a group."""


@deep.command()
def mend() -> None:
    """Do nothing."""


def typed(*words: str, group: click.Command = shelf) -> Result:
    return CliRunner().invoke(group, words)


@pytest.mark.parametrize("words", [("-o", "jsonl", "list"), ("list", "-o", "jsonl")])
def test_the_form_is_given_before_or_after_the_command(words: Sequence[str]) -> None:
    assert typed(*words).stdout == '{"name": "a", "size": 1}\n'


def test_what_is_given_last_holds() -> None:
    assert typed("-o", "json", "list", "-o", "wide").stdout.split() == ["NAME", "SIZE", "a", "1"]
    assert typed("-o", "json", "list", "-o", "table").stdout.split() == ["NAME", "a"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("lits", "Did you mean 'list'?"), ("dep", "Did you mean 'deep'?"), ("mend", "Did you mean 'deep mend'?")],
)  # fmt: skip
def test_who_mistypes_a_command_reads_which_one_may_be_meant(word: str, meant: str) -> None:
    done = typed(word)
    assert (done.exit_code, meant in done.stderr) == (2, True), done.stderr


def test_nothing_is_advised_where_nothing_is_like_it() -> None:
    done = typed("xyzzy")
    assert (done.exit_code, "Did you mean" in done.stderr) == (2, False)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("rum", "list"), "'run'"),
        (("run", "shwo"), "'show'"),
        (("validate", "x.yaml"), "'graph validate'"),
        (("run", "list", "--limt", "3"), "--limit"),
        (("run", "--ouput", "json", "list"), "--output"),
        (("--quite", "version"), "--quiet"),
    ],
)
def test_commands_and_options_of_ours_are_advised(words: Sequence[str], meant: str) -> None:
    done = typed(*words, group=root)
    assert (done.exit_code, meant in done.stderr) == (2, True), done.stderr


def test_every_group_is_one() -> None:
    context = click.Context(root)
    groups = [root.get_command(context, name) for name in root.list_commands(context)]
    plain = [one for one in groups if isinstance(one, click.Group) and not isinstance(one, Group)]
    assert plain == []
