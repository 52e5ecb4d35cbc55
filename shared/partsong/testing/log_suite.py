"""What every `Log` promises, as tests: subclass the suite and provide its fixture.

    class TestMyLog(LogSuite):
        @pytest.fixture
        async def log(self) -> AsyncIterator[Log]: ...

The log must be empty and take subjects below the fixture `root`.
"""

# ruff: noqa: D102 — a test's name is its docstring

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.contracts.wire.headers import MSG_ID
from partsong.contracts.wire.subjects import Subjects
from partsong.log.port import Appended, Log, Record, WrongSequence
from partsong.log.reading import Unreadable, message_of

__all__ = ["LogSuite", "read_all", "take"]

_PATIENCE = 30.0


async def read_all(log: Log, filter: str, after: int = 0) -> list[Record]:
    """What `read` gives, as a list."""
    return [record async for record in log.read(filter, after=after)]


async def take(records: AsyncIterator[Record], count: int) -> list[Record]:
    """The next `count` records of a tail, or a `TimeoutError`."""
    async with asyncio.timeout(_PATIENCE):
        return [await anext(records) for _ in range(count)]


class LogSuite:
    """The promises of the port."""

    @pytest.fixture
    def root(self) -> str:
        """The prefix of every subject the suite uses."""
        return "suite.log"

    async def test_an_empty_log_has_no_records(self, log: Log, root: str) -> None:
        assert await log.head() == 0
        assert await log.last(f"{root}.1.a.engine") is None
        assert await read_all(log, f"{root}.>") == []

    async def test_a_record_reads_back_as_it_was_appended(self, log: Log, root: str) -> None:
        body, subject = b'{"n": 1}', f"{root}.1.a.engine"
        headers = {"traceparent": "00-ab-cd-01"}
        done = await log.append(subject, body, id="a.1", headers=headers)
        assert done == Appended(done.seq)
        expected = Record(done.seq, subject, body, "a.1", headers)
        assert await read_all(log, subject) == [expected]
        assert await log.last(subject) == expected

    async def test_a_guarded_record_shows_nothing_of_its_guard(self, log: Log, root: str) -> None:
        done = await log.append(f"{root}.1.a.engine", b"x", id="a.1", expect=0)
        assert await read_all(log, f"{root}.>") == [
            Record(done.seq, f"{root}.1.a.engine", b"x", "a.1", {})
        ]

    async def test_records_are_read_in_the_order_of_their_appends(
        self, log: Log, root: str
    ) -> None:
        seqs = [
            (await log.append(f"{root}.1.{name}.fact", b"%d" % n, id=f"{n}")).seq
            for n, name in enumerate("abcab" * 4)
        ]
        records = await read_all(log, f"{root}.>")
        assert [record.seq for record in records] == seqs == sorted(set(seqs))
        assert [record.body for record in records] == [b"%d" % n for n in range(20)]
        assert await log.head() == seqs[-1]

    async def test_sequences_start_at_one(self, log: Log, root: str) -> None:
        assert (await log.append(f"{root}.1.a.fact", b"", id="a")).seq == 1

    async def test_last_is_the_newest_of_its_subject(self, log: Log, root: str) -> None:
        await log.append(f"{root}.1.a.fact", b"old", id="1")
        await log.append(f"{root}.1.a.fact", b"new", id="2")
        await log.append(f"{root}.1.b.fact", b"other", id="3")
        last = await log.last(f"{root}.1.a.fact")
        assert last is not None
        assert (last.body, last.id) == (b"new", "2")

    async def test_a_guard_that_holds_lets_the_append_pass(self, log: Log, root: str) -> None:
        subject = f"{root}.1.a.engine"
        first = await log.append(subject, b"1", id="1", expect=0)
        await log.append(f"{root}.1.a.fact", b"between", id="between")
        second = await log.append(subject, b"2", id="2", expect=first.seq)
        assert [record.seq for record in await read_all(log, subject)] == [first.seq, second.seq]

    async def test_a_guard_that_fails_names_both_sequences_and_stores_nothing(
        self, log: Log, root: str
    ) -> None:
        subject = f"{root}.1.a.engine"
        first = await log.append(subject, b"1", id="1", expect=0)
        second = await log.append(subject, b"2", id="2", expect=first.seq)
        with pytest.raises(WrongSequence) as failed:
            await log.append(subject, b"3", id="3", expect=first.seq)
        assert (failed.value.expected, failed.value.found) == (first.seq, second.seq)
        assert failed.value.subject == subject
        assert [record.id for record in await read_all(log, f"{root}.>")] == ["1", "2"]

    async def test_a_guard_on_a_subject_without_records_finds_zero(
        self, log: Log, root: str
    ) -> None:
        await log.append(f"{root}.1.b.engine", b"", id="b")
        with pytest.raises(WrongSequence) as failed:
            await log.append(f"{root}.1.a.engine", b"", id="a", expect=1)
        assert (failed.value.expected, failed.value.found) == (1, 0)

    async def test_a_guard_that_expects_the_future_fails(self, log: Log, root: str) -> None:
        first = await log.append(f"{root}.1.a.engine", b"", id="1")
        with pytest.raises(WrongSequence) as failed:
            await log.append(f"{root}.1.a.engine", b"", id="2", expect=first.seq + 7)
        assert failed.value.found == first.seq

    async def test_an_append_repeated_with_its_id_is_stored_once(self, log: Log, root: str) -> None:
        first = await log.append(f"{root}.1.a.fact", b"x", id="same")
        again = await log.append(f"{root}.1.a.fact", b"x", id="same")
        assert again == Appended(first.seq, duplicate=True)
        assert len(await read_all(log, f"{root}.>")) == 1

    async def test_a_guarded_append_repeated_with_its_id_is_the_same_append(
        self, log: Log, root: str
    ) -> None:
        subject = f"{root}.1.a.engine"
        first = await log.append(subject, b"1", id="1", expect=0)
        assert await log.append(subject, b"1", id="1", expect=0) == Appended(
            first.seq, duplicate=True
        )
        second = await log.append(subject, b"2", id="2", expect=first.seq)
        await log.append(subject, b"3", id="3", expect=second.seq)
        assert await log.append(subject, b"1", id="1", expect=0) == Appended(
            first.seq, duplicate=True
        )
        assert await log.append(subject, b"2", id="2", expect=first.seq) == Appended(
            second.seq, duplicate=True
        )
        assert [record.id for record in await read_all(log, subject)] == ["1", "2", "3"]

    async def test_one_of_racing_guarded_writers_wins(self, log: Log, root: str) -> None:
        subject, last = f"{root}.1.a.engine", 0
        for turn in range(20):
            outcomes = await asyncio.gather(
                *(
                    log.append(subject, b"%d" % writer, id=f"{turn}.{writer}", expect=last)
                    for writer in range(8)
                ),
                return_exceptions=True,
            )
            won = [outcome for outcome in outcomes if isinstance(outcome, Appended)]
            lost = [outcome for outcome in outcomes if isinstance(outcome, WrongSequence)]
            assert (len(won), len(lost)) == (1, 7), outcomes
            last = won[0].seq
            assert {error.found for error in lost} == {last}
        assert len(await read_all(log, subject)) == 20

    async def test_the_record_that_beat_us_can_be_read_at_once(self, log: Log, root: str) -> None:
        subject = f"{root}.1.a.engine"

        async def lose(name: str) -> tuple[int, Record | None]:
            with pytest.raises(WrongSequence) as lost:
                await log.append(subject, b"", id=name, expect=0)
            return lost.value.found, await log.last(subject)

        winning = asyncio.create_task(log.append(subject, b"", id="won", expect=0))
        await asyncio.sleep(0)
        found = await asyncio.gather(*map(lose, "abc"))
        seq = (await winning).seq
        assert found == [(seq, Record(seq, subject, b"", "won", {}))] * 3

    async def test_concurrent_appends_are_all_stored_once_in_one_order(
        self, log: Log, root: str
    ) -> None:
        async def write(writer: int) -> list[int]:
            return [
                (await log.append(f"{root}.{writer}.r.fact", b"x", id=f"{writer}.{n}")).seq
                for n in range(20)
            ]

        written = await asyncio.gather(*map(write, range(25)))
        records = await read_all(log, f"{root}.>")
        assert sorted(seq for seqs in written for seq in seqs) == [r.seq for r in records]
        for writer, seqs in enumerate(written):
            own = [record for record in records if record.subject == f"{root}.{writer}.r.fact"]
            assert [record.seq for record in own] == seqs
            assert [record.id for record in own] == [f"{writer}.{n}" for n in range(20)]

    async def test_the_same_id_appended_at_once_is_stored_once(self, log: Log, root: str) -> None:
        done = await asyncio.gather(
            *(log.append(f"{root}.1.a.fact", b"x", id="same") for _ in range(10))
        )
        assert {appended.seq for appended in done} == {1}
        assert sum(not appended.duplicate for appended in done) == 1
        assert len(await read_all(log, f"{root}.>")) == 1

    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            ("1.a.engine", ["e1"]),
            ("1.a.>", ["e1", "f1", "c1", "c2"]),
            ("*.*.engine", ["e1", "e2"]),
            ("1.*.call.>", ["c1", "c2"]),
            ("*.*.call.c", ["c1", "c3"]),
            ("*.a.*", ["e1", "f1"]),
            ("1.a", []),
            ("1.a.engine.>", []),
            ("3.>", []),
        ],
    )
    async def test_a_filter_selects_as_nats_does(
        self, log: Log, root: str, filter: str, expected: list[str]
    ) -> None:
        for tail, id in [
            ("1.a.engine", "e1"),
            ("1.a.fact", "f1"),
            ("1.a.call.c", "c1"),
            ("1.a.call.d", "c2"),
            ("2.b.engine", "e2"),
            ("2.b.call.c", "c3"),
        ]:
            await log.append(f"{root}.{tail}", b"", id=id)
        assert [record.id for record in await read_all(log, f"{root}.{filter}")] == expected

    @pytest.mark.parametrize("count", [40, 700])
    async def test_read_after_a_sequence_gives_the_rest(
        self, log: Log, root: str, count: int
    ) -> None:
        await asyncio.gather(
            *(log.append(f"{root}.1.{n % 3}.fact", b"", id=f"{n}") for n in range(count))
        )
        everything = await read_all(log, f"{root}.1.0.>")
        assert len(everything) == len(range(0, count, 3))
        for place in (0, len(everything) // 2, len(everything) - 1):
            after = everything[place].seq
            assert await read_all(log, f"{root}.1.0.>", after) == everything[place + 1 :]
        assert await read_all(log, f"{root}.>", await log.head()) == []
        assert await read_all(log, f"{root}.>", await log.head() + 10) == []

    async def test_read_up_to_a_sequence_gives_what_is_not_behind_it(
        self, log: Log, root: str
    ) -> None:
        await asyncio.gather(
            *(log.append(f"{root}.1.{n % 2}.fact", b"", id=f"{n}") for n in range(300))
        )
        mine = await read_all(log, f"{root}.1.0.>")
        ends = (0, mine[0].seq, mine[139].seq, mine[139].seq + 1, mine[-1].seq + 9)
        for after in (0, mine[9].seq, mine[-1].seq):
            rest = [record for record in mine if record.seq > after]
            for upto in ends:
                read = log.read(f"{root}.1.0.>", after=after, upto=upto)
                assert [r async for r in read] == [r for r in rest if r.seq <= upto]

    async def test_read_ends_at_the_head_though_others_append(self, log: Log, root: str) -> None:
        for n in range(300):
            await log.append(f"{root}.1.a.fact", b"", id=f"{n}")
        seen = []
        async with asyncio.timeout(_PATIENCE):
            async for record in log.read(f"{root}.>"):
                seen.append(record.seq)
                await log.append(f"{root}.1.a.fact", b"", id=f"more.{record.seq}")
        assert seen == list(range(1, 301))

    async def test_tail_goes_on_where_read_ends(self, log: Log, root: str) -> None:
        for n in range(5):
            await log.append(f"{root}.1.a.fact", b"", id=f"old.{n}")
        async with aclosing(log.tail(f"{root}.>", after=2)) as records:
            assert [record.seq for record in await take(records, 3)] == [3, 4, 5]
            waiting = asyncio.create_task(take(records, 2))
            await log.append(f"{root}.1.a.fact", b"", id="new.1")
            await log.append(f"{root}.2.b.call.c", b"", id="new.2")
            assert [record.id for record in await waiting] == ["new.1", "new.2"]

    async def test_tail_from_the_future_waits_for_it(self, log: Log, root: str) -> None:
        async with aclosing(log.tail(f"{root}.>", after=2)) as records:
            waiting = asyncio.create_task(take(records, 1))
            for n in range(3):
                await log.append(f"{root}.1.a.fact", b"", id=f"{n}")
            assert [record.seq for record in await waiting] == [3]

    async def test_many_tails_see_the_same_order(self, log: Log, root: str) -> None:
        tails = [log.tail(f"{root}.>") for _ in range(5)]
        seen = [asyncio.create_task(take(records, 200)) for records in tails]
        await asyncio.gather(
            *(log.append(f"{root}.1.{n % 7}.fact", b"", id=f"{n}") for n in range(200))
        )
        stored = await read_all(log, f"{root}.>")
        assert all(records == stored for records in await asyncio.gather(*seen))
        for records in tails:
            await records.aclose()

    @pytest.mark.parametrize("size", [0, 1, 255 * 1024, 300 * 1024, 2 * 1024 * 1024])
    async def test_a_body_of_any_size_reads_back(self, log: Log, root: str, size: int) -> None:
        body = bytes(n * 31 % 251 for n in range(1009)) * (size // 1009 + 1)
        body = body[:size]
        subject = f"{root}.1.a.fact"
        await log.append(subject, body, id="big", headers={"traceparent": "t"})
        again = await log.append(subject, body, id="big", headers={"traceparent": "t"})
        expected = Record(1, subject, body, "big", {"traceparent": "t"})
        assert again == Appended(1, duplicate=True)
        assert await read_all(log, subject) == [expected]
        assert await log.last(subject) == expected
        async with aclosing(log.tail(subject)) as records:
            assert await take(records, 1) == [expected]

    async def test_what_nobody_can_read_is_given_in_its_place_and_ends_no_reader(
        self, log: Log, root: str
    ) -> None:
        subjects = Subjects(root.removesuffix(".log"))
        fact, bodies = subjects.fact("r_1"), [b"", b"\xff\x00", b"[]", b'{"run":"r_2","events":[]}']
        for n, body in enumerate(bodies):
            await log.append(fact, body, id=f"bad{n}")
        after = await log.append(subjects.fact("r_2"), b"after", id="after")
        found = await read_all(log, subjects.log())
        async with aclosing(log.tail(subjects.log())) as records:
            assert await take(records, len(found)) == found
        assert found[-1].seq == after.seq
        assert [record.body for record in found[:-1]] == bodies
        assert await log.last(fact) == found[-2]
        for record in found[:-1]:
            assert isinstance(message_of(subjects, record), Unreadable)

    async def test_two_records_may_have_the_same_big_body(self, log: Log, root: str) -> None:
        body = b"0123456789abcdef" * 32 * 1024
        await asyncio.gather(
            *(log.append(f"{root}.1.a.fact", body, id=f"{n}", expect=None) for n in range(3))
        )
        assert [record.body == body for record in await read_all(log, f"{root}.>")] == [True] * 3

    async def test_text_of_every_script_survives(self, log: Log, root: str) -> None:
        body = '{"t": "Grüße, 世界, 🎼 \u2028\\u0000"}'.encode() + b"\x00\xff\n\r\n"
        await log.append(f"{root}.1.a.fact", body, id="日本-é", headers={"who": "Åsa 🎵"})
        assert await read_all(log, f"{root}.>") == [
            Record(1, f"{root}.1.a.fact", body, "日本-é", {"who": "Åsa 🎵"})
        ]

    @pytest.mark.parametrize(
        "tail", ["*", "a.>", ">", "a b", "a..b", "", "a.", "a\nb", "a*", "a" * 5000]
    )
    async def test_a_subject_that_is_not_literal_is_refused(
        self, log: Log, root: str, tail: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            await log.append(f"{root}.{tail}", b"", id="x")
        assert refused.value.problem.code == "subject.not_literal"
        with pytest.raises(InvalidInput) as refused:
            await log.last(f"{root}.{tail}")
        assert refused.value.problem.code == "subject.not_literal"
        assert await log.head() == 0

    @pytest.mark.parametrize("filter", ["", "a..b", "a.>.b", "a b", ".a", "a*"])
    async def test_a_filter_that_is_none_is_refused(self, log: Log, filter: str) -> None:
        for reader in (log.read, log.tail):
            with pytest.raises(InvalidInput) as refused:
                await anext(aiter(reader(filter)))
            assert refused.value.problem.code == "subject.bad_filter"

    @pytest.mark.parametrize("id", ["", " x", "a\r\nb", "\x00", "a" * 5000])
    async def test_an_id_that_is_not_one_line_is_refused(
        self, log: Log, root: str, id: str
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            await log.append(f"{root}.1.a.fact", b"", id=id)
        assert refused.value.problem.code == "id.invalid"

    @pytest.mark.parametrize(
        "headers",
        [{MSG_ID: "x"}, {"partsong-blob": "x"}, {"a b": "x"}, {"a": "x\ny"}, {"a": "x" * 2**21}],
        ids=["ours", "blob", "name", "lines", "size"],
    )
    async def test_a_header_that_cannot_travel_is_refused(
        self, log: Log, root: str, headers: dict[str, str]
    ) -> None:
        with pytest.raises(InvalidInput) as refused:
            await log.append(f"{root}.1.a.fact", b"", id="x", headers=headers)
        assert refused.value.problem.code == "header.invalid"
        assert await log.append(f"{root}.1.a.fact", b"", id="x") == Appended(1)

    async def test_a_cancelled_append_leaves_the_log_usable(self, log: Log, root: str) -> None:
        doomed = asyncio.create_task(log.append(f"{root}.1.a.fact", b"x", id="doomed"))
        await asyncio.sleep(0)
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        await log.append(f"{root}.1.a.fact", b"y", id="after")
        ids = [record.id for record in await read_all(log, f"{root}.>")]
        assert ids in (["after"], ["doomed", "after"])
