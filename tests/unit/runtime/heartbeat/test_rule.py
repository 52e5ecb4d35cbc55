"""Which process is alive: foreign code that blocks it does not kill it, and what is gone is dead."""

from __future__ import annotations

import pytest

from partsong.runtime.heartbeat.rule import (
    BLOCKED_LIMIT,
    UNANSWERED,
    Standing,
    blocked_limit,
    standing,
)


@pytest.mark.parametrize(
    ("exists", "stopped", "unanswered", "how"),
    [
        (True, False, 0.1, "well"),
        (True, False, UNANSWERED + 0.1, "blocked"),
        (True, False, BLOCKED_LIMIT, "blocked"),
        (True, False, BLOCKED_LIMIT + 0.1, "silent"),
        (True, True, 0.1, "silent"),
        (True, True, BLOCKED_LIMIT + 0.1, "silent"),
        (False, False, 0.1, "gone"),
        (False, True, BLOCKED_LIMIT + 0.1, "gone"),
    ],
)
def test_how_a_process_stands(
    exists: bool, stopped: bool, unanswered: float, how: Standing
) -> None:
    assert standing(exists=exists, stopped=stopped, unanswered=unanswered) == how


def test_code_of_users_may_block_for_longer_than_ours() -> None:
    assert blocked_limit("tool-runner") == blocked_limit("agent-gateway") == BLOCKED_LIMIT
    assert blocked_limit("graph-engine") == blocked_limit("approval") < BLOCKED_LIMIT
