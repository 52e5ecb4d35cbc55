"""What a log that outlives its process promises, as tests: `LogSuite` and one fixture more.

class TestMyLog(DurableLogSuite):
    @pytest.fixture
    async def log(self) -> AsyncIterator[Log]: ...

    @pytest.fixture
    def reopen(self) -> Reopen: ...
"""

# ruff: noqa: D102 — a test's name is its docstring

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from partsong.log.port import Appended, Log, WrongSequence
from partsong.testing.log_suite import LogSuite, read_all

__all__ = ["DurableLogSuite", "Reopen"]

Reopen = Callable[[], Awaitable[Log]]
"""Closes the log as its process would by ending, and opens the same one again."""


class DurableLogSuite(LogSuite):
    """The promises of a log that outlives its process."""

    async def test_what_was_appended_is_there_after_reopening(
        self, log: Log, root: str, reopen: Reopen
    ) -> None:
        for n in range(30):
            await log.append(f"{root}.1.{n % 3}.fact", b"%d" % n, id=f"{n}", headers={"n": f"{n}"})
        await log.append(f"{root}.1.a.fact", b"x" * 300_000, id="big")
        before = await read_all(log, f"{root}.>")
        again = await reopen()
        assert await read_all(again, f"{root}.>") == before
        assert await again.head() == 31

    async def test_ids_and_guards_hold_after_reopening(
        self, log: Log, root: str, reopen: Reopen
    ) -> None:
        subject = f"{root}.1.a.engine"
        await log.append(subject, b"1", id="1", expect=0)
        await log.append(subject, b"2", id="2", expect=1)
        again = await reopen()
        assert await again.append(subject, b"1", id="1", expect=0) == Appended(1, duplicate=True)
        assert await again.append(subject, b"2", id="2") == Appended(2, duplicate=True)
        with pytest.raises(WrongSequence):
            await again.append(subject, b"3", id="3", expect=1)
        assert await again.append(subject, b"3", id="3", expect=2) == Appended(3)
