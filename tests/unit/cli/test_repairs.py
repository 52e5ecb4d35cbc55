"""What the command line says is to be done about a damaged log, and how it tells what a service has said."""

from __future__ import annotations

import pytest

from partsong.cli.child import last_words
from partsong.cli.repairs import carried, verified
from partsong.contracts.wire.damage import AT_REST, BEGIN_ANEW, Damaged


@pytest.mark.parametrize("contained", [True, False])
@pytest.mark.parametrize("runs", [(), ("r_1",)])
def test_who_has_verified_a_log_is_not_told_to_verify_it(
    contained: bool,  # parametrized
    runs: tuple[str, ...],
) -> None:
    damage = Damaged("it ends at 3", ((4, 4),), contained=contained, runs=runs)
    fix = damage.problem.fix or ""
    assert "log verify" in fix
    assert "log verify" not in verified(fix)
    assert "restore" in verified(fix)
    assert "lost: record 4" in str(damage)


def test_advice_is_put_so_that_its_commands_work() -> None:
    both = "run `partsong log verify`, then `partsong log restore` from a backup"
    assert verified(both) == "run `partsong log restore` from a backup"
    assert verified("run `partsong log verify`; restore the log") == "restore the log"
    assert carried(both, ["--offline"]) == (
        "run `partsong log verify --offline`, then `partsong log restore --offline` from a backup"
    )
    assert carried("`partsong log adopt --new`", ["--data", "my data", "--offline"]) == (
        "`partsong log adopt --new --data 'my data' --offline`"
    )
    assert carried(r"run `partsong log restore --as-is`", ["--data", r"a\g<0>"]) == (
        r"run `partsong log restore --data 'a\g<0>' --as-is`"
    )
    assert carried(both, []) == both


def test_who_has_given_offline_is_not_told_to_give_it() -> None:
    fix = Damaged("there is no stream", fix=BEGIN_ANEW).problem.fix or ""
    assert fix.endswith(f". {AT_REST}")
    assert carried(fix, ["--data", "d"]).endswith(f". {AT_REST}")
    offline = carried(fix, ["--data", "d", "--offline"])
    assert "`partsong log adopt --new --data d --offline`" in offline
    assert offline.endswith("to a folder")


@pytest.mark.parametrize(
    "logged",
    [
        '2026-11-29T14:00:00.000Z error   graph-engine log damaged problem="it ends" fix="restore"',
        '{"time": "2026-11-29T14:00:00.000Z", "level": "error", "event": "log damaged"}',
    ],
)
def test_the_last_words_of_a_service_are_its_error_once(logged: str) -> None:
    said = f"{logged}\nlog.damaged: the log ends at 3 (at log)\n  fix: restore it\n"
    assert last_words(said) == ("log.damaged: the log ends at 3 (at log)", "restore it")
    typed = "error: settings.invalid: no number\n  at   PARTSONG_X\n  fix  give one\n"
    assert last_words(typed) == ("settings.invalid: no number\nat   PARTSONG_X", "give one")
    assert last_words(logged) == ("", "")
