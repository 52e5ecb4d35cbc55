"""Counts in words: one of a thing is named in the singular."""

from __future__ import annotations

import pytest

from partsong.contracts.counts import number_of, verb_of
from partsong.contracts.errors import Problem
from partsong.contracts.wire.damage import View, assess
from partsong.contracts.wire.marks import identity_of
from partsong.contracts.wire.seals import Scrub, Sealer
from partsong.log.verify import Verified


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 records are"), (1, "1 record is"), (2, "2 records are")]
)
def test_a_count_agrees_with_its_noun_and_its_verb(count: int, said: str) -> None:
    assert f"{number_of(count, 'record')} {verb_of(count, 'is', 'are')}" == said


def verified(*, holes: int, findings: int, runs: tuple[str, ...] = ()) -> Verified:
    problem = Problem(code="log.seal_broken", message="seal 1 does not agree")
    return Verified(
        records=9,
        runs=1,
        seals=1,
        sealed=9,
        holes=((3, 2 + holes),) if holes else (),
        lost_of={},
        findings=(problem,) * findings,
        lost=(),
        hit=runs,
    )


@pytest.mark.parametrize(
    ("holes", "findings", "said"),
    [
        (1, 1, "1 record cannot be read, 1 finding in runs and partitions"),
        (2, 2, "2 records cannot be read, 2 findings in runs and partitions"),
        (1, 0, "1 record cannot be read"),
        (0, 1, "1 finding in runs and partitions"),
    ],
)
def test_what_a_whole_reading_found_is_counted_in_words(
    holes: int, findings: int, said: str
) -> None:
    damage = verified(holes=holes, findings=findings).damage
    assert damage is not None
    assert damage.why == said


def test_a_record_missing_within_the_log_is_one() -> None:
    identity = identity_of(b'{"run":"r","events":[]}')
    for messages, said in ((8, "1 record is missing"), (7, "2 records are missing")):
        assert said in str(assess((), View(identity, 1, 9, messages)))


def test_a_seal_says_how_many_records_it_covers_and_how_many_are_there() -> None:
    sealer = Sealer(epoch=1).after(2, b"one", 0.0)
    for body, lacks, said in (
        (b"one", True, "covers 1 record, 0 are there"),
        (b"two", False, "does not agree"),
    ):
        scrub, seal = Scrub(), sealer.seal().model_dump_json().encode()
        if not lacks:
            scrub.take(2, body, seal=False)
        found = scrub.take(4, seal, seal=True)
        assert found is not None
        assert said in found.why
    two = sealer.after(4, b"two", 0.0)
    scrub = Scrub()
    scrub.take(2, b"one", seal=False)
    found = scrub.take(6, two.seal().model_dump_json().encode(), seal=True)
    assert found is not None
    assert "covers 2 records, 1 is there" in found.why
