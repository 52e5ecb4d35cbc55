"""Seals: the root covers every record, a seal comes when it is due, and a scrub says where they part."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partsong.contracts.errors import InvalidInput
from partsong.contracts.wire.damage import Damaged
from partsong.contracts.wire.seals import Place, Scrub, Sealer, read_seal

Record = tuple[int, bytes, bool]
"""Sequence, stored bytes, and whether it is a seal."""


def sealed_log(
    count: int, every: int, *, ended: dict[int, str] | None = None
) -> tuple[list[Record], Sealer]:
    """A partition as its owner writes it: records with sequences two apart, a seal after so many."""
    sealer, records, seq = Sealer(epoch=1), list[Record](), 0
    for number in range(count):
        seq += 2
        body = b"record %d" % number
        records.append((seq, body, False))
        sealer = sealer.after(seq, body, 0.0, ended=(ended or {}).get(seq))
        if (number + 1) % every == 0:
            seq += 2
            body = sealer.seal().model_dump_json().encode()
            records.append((seq, body, True))
            sealer = sealer.sealed(seq, body)
    return records, sealer


def scrub(records: Iterable[Record], at: Scrub | None = None) -> tuple[list[Damaged], Scrub]:
    at = at or Scrub()
    found = [at.take(seq, body, seal=seal) for seq, body, seal in records]
    return [one for one in found if one is not None], at


def test_a_whole_partition_agrees_with_its_seals_and_with_its_owners_place() -> None:
    records, sealer = sealed_log(25, every=10)
    found, at = scrub(records)
    assert found == []
    assert at.check(sealer.place) is None
    assert at.last is not None
    assert at.last.n == 2


@given(st.integers(0, 29), st.sampled_from(["lose", "change", "insert"]))
def test_one_lost_changed_or_inserted_record_shows_once_and_between_two_seals(
    which: int, how: str
) -> None:
    records, sealer = sealed_log(30, every=10)
    plain = [index for index, (_, _, seal) in enumerate(records) if not seal]
    index = plain[which]
    seq, body, _ = records[index]
    hurt = {
        "lose": records[:index] + records[index + 1 :],
        "change": [*records[:index], (seq, b"x" + body, False), *records[index + 1 :]],
        "insert": [*records[: index + 1], (seq + 1, b"put in", False), *records[index + 1 :]],
    }[how]
    found, at = scrub(hurt)
    behind = at.check(sealer.place)
    found += [behind] if behind else []
    assert len(found) == 1, "a damage that was named is named once"
    ((first, last),) = found[0].lost
    assert first <= seq + 1
    assert last >= seq
    assert last - first <= 24


def test_what_lies_behind_the_last_seal_shows_at_the_checkpoint() -> None:
    records, sealer = sealed_log(25, every=10)
    found, at = scrub(records[:-1])
    assert found == []
    lost = at.check(sealer.place)
    assert lost is not None
    assert lost.lost == ((43, sealer.place.seq),)


def test_a_lost_last_commit_of_a_finished_run_is_named_with_its_run() -> None:
    records, _ = sealed_log(10, every=10, ended={8: "r_done", 12: "r_other"})
    found, _ = scrub([record for record in records if record[0] != 8])
    (damage,) = found
    assert (damage.runs, damage.holes, damage.contained) == (("r_done",), ((8, 8),), True)


def test_a_lost_head_of_an_open_run_is_named_by_the_checkpoint() -> None:
    records, sealer = sealed_log(5, every=10)
    _, at = scrub([record for record in records if record[0] != 6])
    found = at.check(sealer.place, {"r_open": 6, "r_whole": 10})
    assert found is not None
    assert (found.runs, found.contained) == (("r_open",), True)


def test_a_loss_that_no_run_accounts_for_is_not_contained() -> None:
    records, _ = sealed_log(10, every=10, ended={8: "r_done"})
    found, _ = scrub([record for record in records if record[0] not in {6, 8}])
    assert [one.contained for one in found] == [False]


def test_a_scrub_may_begin_at_a_seal_it_trusts() -> None:
    records, sealer = sealed_log(30, every=10)
    seals = [read_seal(body, seq) for seq, body, seal in records if seal]
    base = Place(seals[0].upto, seals[0].count, bytes.fromhex(seals[0].root))
    found, at = scrub((r for r in records if r[0] > base.seq), Scrub(base))
    assert found == []
    assert at.check(sealer.place) is None


def test_a_seal_that_was_changed_is_found_by_the_next_one() -> None:
    records, _ = sealed_log(10, every=5)
    records[5] = (records[5][0], b"garbage", True)
    found, _ = scrub(records)
    assert len(found) == 1
    with pytest.raises(InvalidInput, match=r"seal\.malformed"):
        read_seal(b"garbage", 6)


@pytest.mark.parametrize(
    "lie", [{"upto": 5}, {"upto": 10**15}, {"count": 9}, {"count": -1}, {"root": "00"}]
)
def test_what_speaks_of_things_to_come_is_no_seal(lie: dict[str, int | str]) -> None:
    """Whoever believed it would take all that it covers for lost."""
    seal = Sealer(epoch=1).after(1, b"a", 0.0).after(4, b"b", 0.0).seal()
    assert read_seal(seal.model_dump_json().encode(), 5) == seal
    forged = seal.model_copy(update=lie).model_dump_json().encode()
    with pytest.raises(InvalidInput, match=r"seal\.malformed"):
        read_seal(forged, 5)
    scrub = Scrub()
    assert [scrub.take(1, b"a", seal=False), scrub.take(5, forged, seal=True)] == [None, None]


def test_a_seal_is_due_after_a_thousand_records_a_minute_or_the_end() -> None:
    sealer = Sealer(epoch=1)
    assert not sealer.due(1e9, drain=True), "there is nothing to seal"
    sealer = sealer.after(1, b"a", 100.0)
    assert not sealer.due(159.0)
    assert sealer.due(160.0)
    assert sealer.due(100.0, drain=True)
    for seq in range(2, 1001):
        sealer = sealer.after(seq, b"a", 100.0)
    assert sealer.due(100.0)
    body = sealer.seal().model_dump_json().encode()
    assert not sealer.sealed(1001, body).due(1e9, drain=True), "a seal is no reason for another one"


def test_what_came_while_the_seal_was_under_way_is_sealed_by_the_next_one() -> None:
    sealer = Sealer(epoch=1).after(1, b"a", 0.0, ended="r_1")
    body = sealer.seal().model_dump_json().encode()
    sealer = sealer.after(2, b"b", 1.0, ended="r_2").sealed(3, body)
    assert dict(sealer.ends) == {"r_2": 2}
    assert sealer.due(1e9)
    assert (sealer.seal().n, sealer.seal().prev) == (2, read_seal(body, 3).root)


def test_a_record_folded_twice_counts_once() -> None:
    once = Sealer(epoch=1).after(1, b"a", 0.0)
    assert once.after(1, b"a", 0.0) == once


def test_what_a_restore_accepted_is_no_finding_and_the_seals_behind_it_are_compared_with_what_is_left() -> (
    None
):
    records, _ = sealed_log(20, every=10)
    left = [record for record in records if record[0] != 8]
    accepted, sealer = left[-1][0], Sealer(epoch=2)
    for seq, body, seal in left:  # the owner of the new epoch reads what is left
        sealer = sealer.sealed(seq, body) if seal else sealer.after(seq, body, 0.0)
    for seq in range(accepted + 2, accepted + 8, 2):
        left.append((seq, b"new", False))
        sealer = sealer.after(seq, b"new", 0.0)
    left.append((accepted + 8, sealer.seal().model_dump_json().encode(), True))
    assert scrub(left, Scrub(accepted=accepted))[0] == []
    hurt = [record for record in left if record[0] != accepted + 4]
    (found,) = scrub(hurt, Scrub(accepted=accepted))[0]
    assert found.lost[0][0] > 8, "what was accepted is not told again"
    assert len(scrub(left)[0]) == 2
