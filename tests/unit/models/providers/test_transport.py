"""A vendor's client: made once, in a thread, and again after it was closed."""

from __future__ import annotations

import asyncio
import threading

from partsong.models.providers.transport import Connection


class Made:
    def __init__(self) -> None:
        self.thread = threading.get_ident()


async def test_those_who_ask_together_get_one_client_made_in_a_thread() -> None:
    connection = Connection(Made)
    first, second = await asyncio.gather(connection.get(), connection.get())
    assert first is second
    assert first.thread != threading.get_ident()


async def test_what_was_taken_for_closing_is_made_anew() -> None:
    connection = Connection(Made)
    assert connection.take() is None
    first = await connection.get()
    assert connection.take() is first
    assert await connection.get() is not first


async def test_a_client_that_could_not_be_made_is_tried_again() -> None:
    tries: list[int] = []

    def make() -> Made:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("no certificates")
        return Made()

    connection = Connection(make)
    results = await asyncio.gather(connection.get(), connection.get(), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, Made]
