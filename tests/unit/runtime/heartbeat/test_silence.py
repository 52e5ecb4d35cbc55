"""Whose silence is theirs, and whose is the listener's."""

from __future__ import annotations

from partsong.contracts.wire.heartbeat import Beat, Blocked, HeldCall
from partsong.runtime.heartbeat.silence import LOOK, Silences, doing

LIMIT = 15.0


class World:
    """Workers that beat unless they are silent, and one who listens."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.heard = dict.fromkeys(names, 0.0)
        self.silent: set[str] = set()
        self.deaf = False
        self._answered = 0.0
        self._silences = Silences(0.0, limit=LIMIT)

    def go(self, seconds: float, step: float = LOOK) -> list[str]:
        """Whom the rule names first, as time goes by."""
        until = self.now + seconds
        while self.now < until:
            self.now += step
            if not self.deaf:
                self._answered = self.now
                self.heard |= dict.fromkeys(self.heard.keys() - self.silent, self.now)
            found = self._silences.look(self.now, self.heard, answered=self._answered)
            if found is not None:
                return [found[0]]
        return []


def test_one_that_is_silent_among_others_is_named_after_the_limit_and_not_before() -> None:
    world = World("a", "b", "c", "d")
    world.silent = {"b"}
    assert world.go(LIMIT) == []
    assert world.go(1) == ["b"]


def test_nobody_is_named_while_all_beat() -> None:
    assert World("a", "b").go(1000) == []


def test_all_at_once_are_given_longer_and_named_at_last() -> None:
    world = World("a", "b", "c", "d")
    world.silent = {"a", "b", "c", "d"}
    assert world.go(3 * LIMIT) == []
    assert len(world.go(2 * LIMIT)) == 1


def test_one_that_is_alone_is_named_after_the_limit() -> None:
    world = World("a")
    world.silent = {"a"}
    assert world.go(LIMIT + 1) == ["a"]


def test_who_is_cut_off_names_nobody_and_gives_everybody_time_afterwards() -> None:
    world = World("a", "b", "c")
    world.deaf = True
    assert world.go(1000) == []
    world.deaf, world.silent = False, {"b"}
    assert world.go(LIMIT - 1) == []
    assert world.go(2) == ["b"]


def test_who_was_held_up_names_nobody() -> None:
    world = World("a", "b", "c")
    world.silent = {"b"}
    assert world.go(1000, step=10) == [], "each look comes ten seconds after the one before"
    world.silent = set()
    assert world.go(100) == []


def test_what_a_worker_did_is_told_from_its_last_heartbeat() -> None:
    beat = Beat(service="tool-runner", name="n", incarnation="i", started="")
    assert doing(None) == "it has not said what it does"
    assert doing(beat) == "it held no call"
    held = tuple(HeldCall(run_id=f"r_{n}", call_id="c", function="shop:pay") for n in range(5))
    said = doing(beat.model_copy(update={"held": held, "held_more": 2}))
    assert said.startswith("it held shop:pay of run r_0, shop:pay of run r_1")
    assert said.endswith(" and 4 more")
    blocked = Blocked(since="2026-01-01T00:00:00Z", functions=("shop:pay",), process=True)
    said = doing(beat.model_copy(update={"blocked": blocked}))
    assert said == "shop:pay let nothing else run since 2026-01-01T00:00:00Z"
