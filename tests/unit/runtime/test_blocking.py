"""Blocking calls: in scripts, in notebooks, and where they would stop a program's own loop."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from types import ModuleType

import pytest

from partsong.contracts.errors import InvalidInput
from partsong.runtime.blocking import blocking

VALUE = contextvars.ContextVar("VALUE", default="unset")

INTERRUPTED = """
import asyncio, os, signal, sys, threading, types
from partsong.runtime.blocking import blocking

sys.setswitchinterval(5)  # so that the thread may be told to stop before whoever started it goes on
shell = types.ModuleType("IPython")
shell.get_ipython = object
if "notebook" in sys.argv:
    sys.modules["IPython"] = shell

async def slow():
    os.kill(os.getpid(), signal.SIGINT)
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("closed", threading.current_thread() is threading.main_thread())

def cell():
    try:
        blocking(slow, name="slow", instead="slow()")
    except KeyboardInterrupt:
        print("interrupted")

async def kernel():
    asyncio.get_running_loop().call_soon(cell)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

if "notebook" in sys.argv:
    loop = asyncio.new_event_loop()  # as a kernel's: Ctrl-C is not its own affair
    loop.run_until_complete(kernel())
else:
    cell()
"""


async def value() -> tuple[str, str]:
    await asyncio.sleep(0)
    return VALUE.get(), threading.current_thread().name


async def failing() -> None:
    raise ValueError("broken")


@pytest.fixture
def _notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = ModuleType("IPython")
    shell.get_ipython = object  # type: ignore[attr-defined]  # all that is asked of it
    monkeypatch.setitem(sys.modules, "IPython", shell)


def call() -> tuple[str, str]:
    return blocking(value, name="value_sync", instead="value()")


def test_a_script_gets_the_result_in_its_own_thread() -> None:
    assert call() == ("unset", threading.current_thread().name)


def test_an_error_comes_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="broken"):
        blocking(failing, name="failing_sync", instead="failing()")


async def test_a_programs_own_loop_is_not_stopped() -> None:
    with pytest.raises(InvalidInput) as caught:
        call()
    problem = caught.value.problem
    assert (problem.code, problem.where) == ("sync.running_loop", "value_sync")
    assert problem.fix == "in a coroutine write: await value()"


@pytest.mark.usefixtures("_notebook")
async def test_a_notebooks_cell_gets_a_thread_with_its_context() -> None:
    VALUE.set("of the cell")
    assert call() == ("of the cell", "partsong blocking")
    assert "partsong blocking" not in {one.name for one in threading.enumerate()}


@pytest.mark.usefixtures("_notebook")
async def test_a_notebooks_cell_gets_the_error() -> None:
    with pytest.raises(ValueError, match="broken"):
        blocking(failing, name="failing_sync", instead="failing()")


@pytest.mark.parametrize(("where", "main"), [("script", "True"), ("notebook", "False")])
def test_ctrl_c_cancels_and_waits_until_all_is_closed(where: str, main: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [f"closed {main}", "interrupted"], done.stderr
