"""What would steer a terminal is shown instead of sent: in tables, JSON, YAML, errors and log lines."""

from __future__ import annotations

import json
import logging

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from partsong.cli import yaml12
from partsong.cli.failures import tell
from partsong.cli.output import Output
from partsong.contracts.errors import Problem
from partsong.runtime import logs
from partsong.runtime.visible import escaped, has_password, visible, without_password

HOSTILE = (
    "\x1b]0;TITLE\x07\x1b[2J\x1b[31mAPPROVED\x9b31m \u202egnp.exe\u202c\rOVER\x85\u2028\ud800\x7f"
)
STEERING = {
    *map(chr, range(32)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u202e\u202c\u2028\ufeff\u200f",
} - {*"\t\n"}


def steers(text: str) -> set[str]:
    return STEERING & {*text}


@given(st.text(st.characters()))
def test_visible_text_steers_nothing(text: str) -> None:
    assert not steers(visible(text))
    assert visible(visible(text)) == visible(text)
    visible(text).encode()
    assert not {*"\t\n"} & {*visible(text, lines=False)}


@pytest.mark.parametrize("text", ["plain", "Grüße, 你好 🧨", "two\nlines\tand a tab", "\\x1b"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_and_yaml_read_as_the_same_value(text: str) -> None:
    value = {"key": [text], text: 1}
    said = escaped(json.dumps(value, ensure_ascii=False))
    assert not steers(said)
    assert json.loads(said) == value
    written = escaped(yaml12.dump(value))
    assert not steers(written)
    assert yaml12.load(written) == value
    assert yaml.safe_load(written)["key"] == [text]


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
def test_no_output_steers_a_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(form=form)  # type: ignore[arg-type]  # one of its words
    record = {"title": HOSTILE, "more": {HOSTILE: [HOSTILE]}}
    out.rows([record], ("title", "more"))
    out.record(record)
    out.line(record, HOSTILE)
    out.say(HOSTILE)
    tell(Problem(code="x", message=HOSTILE, where=HOSTILE, fix=HOSTILE), out)
    said = "".join(capsys.readouterr())
    assert "APPROVED" in said
    assert not steers(said)


def test_only_our_own_colours_are_colours(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(color=True)
    out.record({"status": "completed", "title": "\x1b[32mcompleted"})
    said = capsys.readouterr().out
    assert "\x1b[32mcompleted" in said.splitlines()[0]
    assert "\\x1b[32mcompleted" in said.splitlines()[1]


def lines_of(form: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.set_up("test", form=form)
    try:
        try:
            raise ValueError(f"{HOSTILE}\n2026-01-01T00:00:00.000Z info    approval decided")
        except ValueError:
            told = {"run": HOSTILE, "two": "a\nb"}
            logging.getLogger("x").exception("event\n%s", HOSTILE, extra=told)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_line_is_one_line_and_steers_nothing(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = lines_of(form, capsys)
    assert not any(map(steers, [first, *others]))
    assert "APPROVED" in first
    assert all(line.startswith("    ") for line in others)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://host:4222", "nats://host:4222"),
        ("host", "host"),
        ("nats://u:pw@host:4222", "nats://host:4222"),
        ("u:pw@host", "host"),
        ("nats://token@host", "nats://host"),
        ("nats://u:p@w@host", "nats://host"),
        ("nats://u:p/w@host", "nats://host"),
        ("nats://u:p,w@host", "nats://host"),
        ("nats://u:pw@a:1, nats://u:pw@b:2", "nats://a:1,nats://b:2"),
        ("nats://a:1,b:2", "nats://a:1,b:2"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert without_password(url, instead="X@").replace("X@", "") == shown
    assert has_password(url) == ("@" in url)
