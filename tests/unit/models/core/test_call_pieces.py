"""Pieces of calls under one index: what goes on with a call, and what begins another one."""

from __future__ import annotations

import pytest

from partsong.models.core.call_pieces import Call, Calls, plain_name

Piece = tuple[int | None, str, str, str]


def _read(*pieces: Piece, tools: tuple[str, ...] = ("get_weather", "now", "nowhere")) -> list[str]:
    calls = Calls(tools)
    for index, id_, name, text in pieces:
        call = calls.of(index, id_, name, text)
        if call is None:
            call = calls.begin(index, Call(id_, plain_name(name), len(calls.all) + 1))
        if text:
            call.add(text)
    return [f"{call.name}{call.text}" for call in calls.all]


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([(0, "a", "now", "{}"), (0, "b", "now", "{}")], ["now{}", "now{}"]),
        ([(0, "a", "now", "{}"), (0, "a", "now", "{}")], ["now{}"]),
        ([(0, "a", "now", "{}"), (0, "a", "now", "")], ["now{}"]),
        ([(0, "", "now", "{}"), (0, "", "now", "{}")], ["now{}", "now{}"]),
        ([(0, "a", "now", "{}"), (0, "", "null", "")], ["now{}"]),
        ([(0, "a", "now", "{}"), (0, "a", "", '{"x":1}')], ['now{"x":1}']),
        ([(0, "a", "now", '{"x"'), (0, "b", "now", ":1}")], ['now{"x":1}']),
        ([(0, "a", "now", '{"x"'), (0, "b", "", ":1}")], ['now{"x":1}']),
        ([(0, "a", "", ""), (0, "a", "now", "{}")], ["now{}"]),
        ([(0, "a", "get_", ""), (0, "", "weather", "{}")], ["get_weather{}"]),
        ([(0, "a", "now", ""), (0, "", "here", "{}")], ["nowhere{}"]),
        ([(0, "a", "now", ""), (0, "b", "get_weather", "{}")], ["now", "get_weather{}"]),
        ([(0, "", "now", ""), (0, "", "get_weather", "{}")], ["now", "get_weather{}"]),
        (
            [
                (0, "a", "now", '{"x"'),
                (1, "b", "now", '{"y"'),
                (0, "", "", ":1}"),
                (1, "", "", ":2}"),
            ],
            ['now{"x":1}', 'now{"y":2}'],
        ),
        ([(None, "a", "now", '{"x"'), (None, "", "", ":1}")], ['now{"x":1}']),
        ([(0, "a", "now", '{"x"'), (None, "", "", ":1}")], ['now{"x":1}']),
    ],
)
def test_pieces_find_their_call(pieces: list[Piece], said: list[str]) -> None:
    assert _read(*pieces) == said
