"""When a model that goes round in circles is warned, and when it is stopped."""

from __future__ import annotations

import pytest

from partsong.contracts.state.circles import Circles
from partsong.contracts.talk.messages import ToolCallPart

LOOK = ToolCallPart(id="1", name="look", args={"place": "x"})


@pytest.mark.parametrize(
    ("limit", "times", "warned", "unknown"),
    [(3, 2, 3, 0), (1, 1, 2, 0), (3, 0, 3, 3), (1, 0, 2, 2)],
)
def test_nobody_is_stopped_who_was_not_warned(
    limit: int, times: int, warned: int, unknown: int
) -> None:
    calm = Circles(limit, warned=False, repeated=(LOOK, times), unknown=max(0, unknown - 1))
    assert (calm.warning(()), calm.problem("it", "here")) == (None, None)
    again = (LOOK, 0 if unknown else warned)
    round_ = Circles(limit, warned=False, repeated=again, unknown=unknown)
    assert round_.problem("it", "here") is None
    assert "ends the task" in (round_.warning(["look"]) or "")
    again = (LOOK, 0 if unknown else limit + 1)
    after = Circles(limit, warned=True, repeated=again, unknown=limit + 1 if unknown else 0)
    assert after.warning(["look"]) is None
    problem = after.problem("it", "here")
    assert problem is not None
    assert problem.code == ("agent.unknown_tools" if unknown else "agent.loop")


def test_many_at_once_are_warned_of_first() -> None:
    assert Circles(3, warned=False, repeated=(LOOK, 9), unknown=0).problem("it", "here") is None
