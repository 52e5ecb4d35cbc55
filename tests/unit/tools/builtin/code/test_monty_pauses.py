"""Code that calls a tool pauses there, and goes on in another process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from partsong.contracts.errors import Conflict, InvalidInput
from partsong.tools.builtin.code import Finished, Limits, Outcome, Paused
from partsong.tools.builtin.code.monty import Sandbox

SANDBOX = Sandbox(functions={"refund": ("order", "amount"), "look": ("order",)})

ELSEWHERE = """
import sys
from partsong.tools.builtin.code.monty import Sandbox
print(Sandbox().resume(sys.stdin.buffer.read(), {"paid": 7}))
"""


def paused(outcome: Outcome) -> Paused:
    assert isinstance(outcome, Paused)
    return outcome


def test_a_call_pauses_with_its_arguments_by_name() -> None:
    pause = paused(SANDBOX.start("refund('o-1', amount=5)"))
    assert (pause.function, pause.args) == ("refund", {"order": "o-1", "amount": 5})


def test_the_code_goes_on_with_each_result_and_keeps_what_it_has() -> None:
    code = "print('begin')\ntotal = 0\nfor o in ['a', 'b']:\n    total += look(o)['paid']\n    print(o)\ntotal"
    first = paused(SANDBOX.start(code))
    second = paused(SANDBOX.resume(first.snapshot, {"paid": 2}))
    assert second.args == {"order": "b"}
    expected = Finished(5, "begin\na\nb\n")
    assert SANDBOX.resume(second.snapshot, {"paid": 3}) == expected
    assert SANDBOX.resume(second.snapshot, {"paid": 3}) == expected


def test_the_code_goes_on_in_another_process() -> None:
    pause = paused(SANDBOX.start("print('here')\nlook('o-1')['paid'] * 6"))
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=pause.snapshot,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.decode().strip() == repr(Finished(42, "here\n")), done.stderr.decode()


def test_a_refusal_is_an_error_the_code_may_handle() -> None:
    pause = paused(
        SANDBOX.start("try:\n    r = look('o')\nexcept RuntimeError as e:\n    r = str(e)\nr")
    )
    assert SANDBOX.refuse(pause.snapshot, "denied by ada") == Finished("denied by ada")
    with pytest.raises(InvalidInput, match="denied by ada"):
        SANDBOX.refuse(paused(SANDBOX.start("look('o')")).snapshot, "denied by ada")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("look('a', 'b')", "takes 1 arguments"),
        ("look('a', order='b')", "two values for order"),
        ("look(order='a', colour='red')", "no parameter colour"),
        ("delete('a')", "'delete' is not defined"),
        ("_outside_look('a')", r"look\(\): "),
    ],
)
def test_a_wrong_call_is_the_codes_own_error_and_pauses_nowhere(call: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        SANDBOX.start(call)
    assert refused.value.problem.code == "code.raised"


def test_arguments_that_double_themselves_stay_inside() -> None:
    code = "x = []\nfor i in range(40): x = [x, x]\n"
    with pytest.raises(InvalidInput) as refused:
        Sandbox(Limits(seconds=0.2), SANDBOX.functions).start(f"{code}look(x)")
    assert refused.value.problem.code == "code.limit"
    with pytest.raises(InvalidInput, match=r"look\(\): "):
        SANDBOX.start(f"{code}_outside_look(x)")


def test_the_number_of_calls_is_limited_over_all_pauses() -> None:
    sandbox = Sandbox(Limits(calls=2), SANDBOX.functions)
    pause = paused(sandbox.start("while True: look('o')"))
    pause = paused(sandbox.resume(pause.snapshot, 1))
    with pytest.raises(InvalidInput, match="more than 2 tool calls"):
        sandbox.resume(pause.snapshot, 1)


@pytest.mark.parametrize(
    "rest",
    ["while True: pass", "x = []\nwhile True: x.append('a' * 100000)", "print('x' * 10_000_000)"],
)
def test_the_limits_hold_after_a_pause(rest: str) -> None:
    pause = paused(SANDBOX.start(f"look('o')\n{rest}"))
    with pytest.raises(InvalidInput) as refused:
        Sandbox(Limits(seconds=0.2)).resume(pause.snapshot, 1)
    assert refused.value.problem.code == "code.limit"


@pytest.mark.parametrize("name", ["not-a-name", "if", "_outside_look", "f(): pass\nimport os #"])
def test_a_function_that_code_cannot_call_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="no name for a function"):
        Sandbox(functions={name: ()})


def test_a_snapshot_of_another_version_is_refused_with_both_versions() -> None:
    snapshot = paused(SANDBOX.start("look('o')")).snapshot
    from pydantic_monty import __version__ as here

    other = snapshot.replace(f'"monty":"{here}"'.encode(), b'"monty":"0.0.1"', 1)
    with pytest.raises(Conflict, match=rf"0\.0\.1, here is {here}") as refused:
        SANDBOX.resume(other, 1)
    assert refused.value.problem.code == "code.snapshot_version"


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"partsong-code/1 {}\nxx"])
def test_bytes_that_are_no_snapshot_are_refused(damage: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        SANDBOX.resume(damage, 1)
    assert refused.value.problem.code == "code.bad_snapshot"


def test_a_damaged_snapshot_is_refused() -> None:
    snapshot = paused(SANDBOX.start("look('o')")).snapshot
    with pytest.raises(InvalidInput, match="damaged"):
        SANDBOX.resume(snapshot[:-1] + bytes([snapshot[-1] ^ 1]), 1)


def test_a_pause_is_small() -> None:
    assert len(paused(SANDBOX.start("look('o')")).snapshot) < 10_000
