"""`assess`: what is damage, what is not, and the exact range of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.contracts.wire.damage import (
    Damaged,
    Gone,
    Hit,
    Silent,
    Sound,
    Unknown,
    View,
    assess,
    damage_error,
    merged,
    wanted,
)
from partsong.contracts.wire.differences import Difference
from partsong.contracts.wire.marks import (
    Acked,
    Genesis,
    Identity,
    Mark,
    Restored,
    digest_of,
    identity_of,
    read_mark,
    ripe,
    thinned,
)

OURS = Identity("log-a")


def mark(seq: int, *, log: str = "log-a", epoch: int = 1, digest: str | None = None) -> Mark:
    return Mark(
        log_id=log, epoch=epoch, seq=seq, digest=digest or f"d{seq}", at="2026-01-01T00:00:00.000Z"
    )


def view(last: int, *, identity: Identity | None = OURS, **more: object) -> View:
    """A log of `last` records, each with the digest that a mark of it has."""
    said: dict[str, object] = {
        "identity": identity, "first_seq": 1, "last_seq": last, "messages": last,
        "digests": {seq: f"d{seq}" for seq in range(1, last + 1)},
    }  # fmt: skip
    return View(**(said | more))  # type: ignore[arg-type]


def damaged(answer: object) -> Damaged:
    assert isinstance(answer, Damaged), answer
    return answer


RESTORED = Identity(
    "log-a", 2,
    (Restored(log_id="log-a", epoch=2, kept=200, lost=(201, 400), since="s", at="t", by="ann", source="backup"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ((), view(0, identity=None)),
        ((), Gone()),
        ((), view(5)),
        ((mark(5),), view(5)),
        ((mark(5), mark(2)), view(900)),
        ((mark(400), mark(150)), view(210, identity=RESTORED)),
        ((mark(210, epoch=2), mark(300)), view(210, identity=RESTORED)),
    ],
    ids=[
        "a new and empty stream",
        "no stream, and nothing known: data and marks were both wiped",
        "a log without marks",
        "a log that ends at its mark",
        "a log that has grown, its older marks in place",
        "a restored log, lower than a mark of the epoch before",
        "a restored log with a mark of its new epoch",
    ],
)
def test_what_is_no_damage_raises_no_alarm(marks: tuple[Mark, ...], said: View | Gone) -> None:
    assert assess(marks, said) == Sound()


def test_nobodys_answer_says_nothing_about_the_log() -> None:
    assert assess((mark(5),), Silent("no leader")) == Unknown("no leader")


def test_a_log_that_ends_before_its_mark_has_lost_exactly_what_lies_between() -> None:
    found = damaged(assess((mark(400), mark(150)), view(200)))
    assert (found.lost, found.code) == (((201, 400),), "log.damaged")
    assert "201 to 400" in str(found)


def test_sequences_that_were_used_again_show_by_the_digest_at_the_mark() -> None:
    reused = {seq: f"d{seq}" for seq in range(1, 201)} | dict.fromkeys(range(201, 500), "other")
    found = damaged(assess((mark(400), mark(390), mark(180)), view(499, digests=reused)))
    assert found.lost == ((181, 400),)


def test_a_record_at_a_mark_that_cannot_be_read_is_a_hole() -> None:
    digests: dict[int, str | None] = {5: None, 2: "d2"}
    found = damaged(assess((mark(5), mark(2)), view(9, digests=digests)))
    assert (found.lost, found.holes) == ((), ((5, 5),))


def test_a_stream_that_is_gone_or_empty_has_lost_all_up_to_the_mark() -> None:
    for said in (Gone(), view(0, identity=None)):
        found = damaged(assess((mark(7), mark(3)), said))
        assert found.lost == ((1, 7),)
        assert "adopt --new" in str(found.fix)


def test_a_log_made_anew_is_another_one_and_the_error_says_how_to_adopt_it() -> None:
    found = damaged(assess((mark(7),), view(90, identity=Identity("log-b"))))
    assert (found.code, found.lost) == ("log.another", ((1, 7),))
    assert "partsong log adopt" in damage_error(found).problem.fix  # type: ignore[operator]


def test_one_mark_of_another_log_is_enough_though_others_came_with_this_one() -> None:
    for marks in ((mark(5), mark(70, log="log-b")), (mark(70, log="log-b"), mark(900))):
        found = damaged(assess(marks, view(900)))
        assert (found.code, found.lost) == ("log.another", ((1, 70),))


def test_a_log_of_an_earlier_epoch_than_its_mark_is_damaged() -> None:
    found = damaged(assess((mark(210, epoch=2), mark(180)), view(900)))
    assert found.lost == ((181, 210),)


def test_a_mark_below_what_a_restore_kept_still_binds() -> None:
    assert wanted((mark(400), mark(150)), RESTORED) == [150]
    changed = {150: "other"}
    assert damaged(assess((mark(150),), view(210, identity=RESTORED, digests=changed))).lost == (
        (1, 150),
    )


def test_a_beginning_that_a_limit_has_removed_is_damage_also_without_marks() -> None:
    said = view(
        90,
        identity=None,
        first_seq=42,
        messages=49,
        differences=(Difference("stream", "L", "max_msgs", -1, 49),),
    )
    for marks in ((), (mark(90),)):
        found = damaged(assess(marks, said))
        assert found.lost == ((1, 41),)
        assert "max_msgs" in str(found)


def test_records_missing_within_the_log_are_damage_with_their_places_if_the_leader_knows_them() -> (
    None
):
    assert damaged(assess((), view(9, messages=7, deleted=(3, 4)))).holes == ((3, 4),)
    assert damaged(assess((), view(9, messages=7))).holes == ()
    assert damaged(assess((), view(9, messages=8, identity=None))).holes == ((1, 1),)


def test_a_changed_configuration_is_damage_that_passes_when_it_is_set_back() -> None:
    limits = (("max_age", 0, 1), ("max_msgs", -1, 49), ("max_bytes", -1, 7))
    changed = tuple(Difference("stream", "L", *limit) for limit in limits)
    found = damaged(assess((mark(5),), view(5, differences=changed)))
    assert (found.code, found.lost, found.passes) == ("log.config_changed", (), True)
    assert "stream L: max_age should be 0, is 1; stream L: max_msgs should be" in str(found)
    assert "`nats stream edit L --max-age=0s --max-msgs=-1 --max-bytes=-1`" in found.fix
    assert not damaged(assess((mark(9),), view(5))).passes


def test_a_log_without_genesis_is_named_by_its_first_record() -> None:
    old = identity_of(b'{"run":"r","events":[]}')
    assert len(old.log_id) == 64
    assert old == identity_of(b'{"run":"r","events":[]}') != identity_of(b"{}")
    genesis = Genesis(log_id="log-a", created="now").model_dump_json().encode()
    assert identity_of(genesis) == OURS


def test_a_restore_of_another_log_does_not_raise_the_epoch() -> None:
    genesis = Genesis(log_id="log-a", created="now").model_dump_json().encode()
    mine, other = (
        Restored(log_id=log, epoch=2, kept=1, since="s", at="t", by="ann", source="b")
        .model_dump_json(by_alias=True)
        .encode()
        for log in ("log-a", "log-b")
    )
    assert identity_of(genesis, (other, b"junk")).epoch == 1
    assert identity_of(genesis, (other, mine)).epoch == 2


def test_the_digest_covers_the_stored_bytes_and_the_message_id() -> None:
    assert len({digest_of(b"a", "1"), digest_of(b"b", "1"), digest_of(b"a", "2")}) == 3


def test_what_is_no_mark_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r"mark\.malformed"):
        read_mark(b'{"seq": 1}')
    assert read_mark(mark(3).model_dump_json()) == mark(3)


def test_an_unsynced_append_is_marked_only_after_two_seconds_and_the_interval() -> None:
    waiting = [Acked(at, seq, "", b"") for seq, at in enumerate((10.0, 11.0, 12.5), start=1)]
    assert ripe(waiting, 12.5, 0) == 3
    assert ripe(waiting, 12.5, 0.1) == 1
    assert ripe(waiting, 12.0, 0.1) == 0
    assert ripe(waiting, 60.0, 0.1) == 3


def test_older_marks_are_kept_ever_further_apart() -> None:
    kept = thinned([mark(seq) for seq in range(1, 5001)])
    assert kept[0].seq == 5000
    assert len(kept) <= 16
    back = [5000 - m.seq for m in kept[1:]]
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(back))
    assert thinned([*kept, mark(5001)])[0].seq == 5001


def test_what_a_restore_could_not_bring_back_is_no_damage_and_what_else_is_gone_is() -> None:
    restored = Restored(
        log_id="log-a", epoch=2, kept=200, upto=200, missing=((40, 41), (200, 200)), runs=("r_1",),
        since="s", at="t", by="ann", source="backup",
    )  # fmt: skip
    again = Identity("log-a", 2, (restored,))
    assert (again.accepted, again.damaged_runs) == (200, frozenset({"r_1"}))
    marks = (mark(200), mark(41), mark(39))
    assert wanted(marks, again) == [39]
    for messages, deleted in ((210, ()), (207, (40, 41, 200)), (209, (40,))):
        said = view(210, identity=again, messages=messages, deleted=deleted)
        assert assess(marks, said) == Sound()
    found = damaged(
        assess(marks, view(210, identity=again, messages=206, deleted=(40, 41, 77, 200)))
    )
    assert (found.holes, found.missing) == (((77, 77),), 1)
    old = restored.model_dump(exclude={"upto", "missing", "runs"}, by_alias=True)
    assert Restored.model_validate(old).accepted == 200, "as records of before have it"


def test_a_run_that_lacks_records_is_named_with_the_first_restore_that_left_it_or_the_damage() -> (
    None
):
    first = Restored(
        log_id="log-a", epoch=2, kept=9, runs=("r_1",), since="s", at="t2", by="ann", source="b2"
    )
    second = first.model_copy(
        update={"epoch": 3, "at": "t3", "source": "b3", "runs": ("r_1", "r_2")}
    )
    hit = Hit((first, second), Damaged("seal 4 is broken", runs=("r_2", "r_3"), contained=True))
    assert hit.runs == {"r_1", "r_2", "r_3"}
    assert (Hit().runs, hit.why("r_4")) == (frozenset(), None)
    said = {run: problem.message for run in hit.runs if (problem := hit.why(run))}
    assert said == {
        "r_1": "records of run r_1 did not come back when ann restored the log from b2 at t2",
        "r_2": "records of run r_2 did not come back when ann restored the log from b3 at t3",
        "r_3": "records of run r_3 cannot be read: seal 4 is broken",
    }


def test_several_damages_are_one_with_each_record_once() -> None:
    one = Damaged("a", ((4, 9),), runs=("r_1",), contained=True, missing=2)
    other = Damaged("b", ((14, 15),), holes=((3, 3),), runs=("r_2",), contained=True, missing=1)
    both = merged([one, other, replace(one, why="c")])
    assert (both.why, both.lost, both.holes) == ("a; b", ((4, 9), (14, 15)), ((3, 3),))
    assert (both.runs, both.missing, both.contained) == (("r_1", "r_2"), 3, True)
    assert merged([one, both]) == both
    assert not merged([one, replace(one, contained=False)]).contained


def test_a_loss_is_narrowed_to_the_records_that_a_reading_has_not_found() -> None:
    found = Damaged("seal 1 covers 53 records, 52 are there", ((1, 53),), missing=1)
    exact = found.narrowed([(49, 49), (70, 71)])
    assert (exact.lost, exact.holes) == ((), ((49, 49),))
    changed = replace(found, missing=0).narrowed([(49, 49)])
    assert (changed.lost, changed.holes) == (((1, 53),), ((49, 49),))
