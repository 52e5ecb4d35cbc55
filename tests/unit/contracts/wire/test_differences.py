"""Differences of streams from the table: said with both values, and with the command that sets them back."""

from __future__ import annotations

from partsong.contracts.wire.differences import Difference, set_back

LIMIT = Difference("stream", "L", "max_msgs", -1, 49)
AGE = Difference("stream", "L", "max_age", 0, 60_000_000_000)
WINDOW = Difference("stream", "L", "duplicate_window", 120_000_000_000, 1_000_000_000)
DIRECT = Difference("stream", "L", "allow_direct", found=None, wanted=True)
ACK = Difference("consumer", "L.c", "ack_wait", 1, 2)


def test_a_difference_is_said_with_both_values() -> None:
    assert str(LIMIT) == "stream L: max_msgs should be -1, is 49"
    assert str(DIRECT) == "stream L: allow_direct should be true, is null"


def test_limits_are_set_back_by_one_command_a_stream() -> None:
    assert set_back([LIMIT, AGE]) == "`nats stream edit L --max-msgs=-1 --max-age=0s`"
    assert set_back([WINDOW]) == "`nats stream edit L --dupe-window=120s`"
    other = Difference("stream", "M", "max_bytes", -1, 5)
    assert set_back([LIMIT, other]) == (
        "`nats stream edit L --max-msgs=-1`, `nats stream edit M --max-bytes=-1`"
    )


def test_what_no_flag_sets_is_edited_by_hand() -> None:
    assert set_back([LIMIT, DIRECT]) == "`nats stream edit L --interactive`"
    assert set_back([ACK]) == "`nats consumer edit L c --interactive`"
    assert set_back([]) == ""
