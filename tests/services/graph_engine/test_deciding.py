"""What an engine had in hand when it died, its successor knows."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from partsong.graph_engine.deciding import MOST_DEATHS, Deciding

DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from partsong.graph_engine.deciding import Deciding

async def go():
    deciding = Deciding.open(Path(sys.argv[1]))
    async with deciding.on("r_good"):
        pass
    async with deciding.on(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(go())
"""


def dies(folder: Path, run_id: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIES, folder, run_id], check=False)
    assert done.returncode == -signal.SIGKILL


async def take(deciding: Deciding, run_id: str) -> None:
    async with deciding.on(run_id):
        await asyncio.sleep(0)


def deaths(folder: Path, run_id: str) -> int:
    """How many engines the one that opens next believes to have died of a run; it is gone again at once."""
    deciding = Deciding.open(folder)
    found = deciding._deaths.get(run_id, 0)
    deciding.close()
    return found


def test_a_run_that_ends_its_engine_is_set_aside_after_some(tmp_path: Path) -> None:
    for n in range(MOST_DEATHS):
        assert deaths(tmp_path, "r_bad") == n
        dies(tmp_path, "r_bad")
    deciding = Deciding.open(tmp_path)
    problem = deciding.problem("r_bad")
    assert problem is not None
    assert problem.code == "engine.died"
    assert str(MOST_DEATHS) in problem.message
    assert deciding.problem("r_good") is None
    deciding.close()
    deciding = Deciding.open(tmp_path)
    assert deciding.problem("r_bad") is not None, "also for the engine after the next"
    deciding.close()


async def test_a_run_that_an_engine_survives_has_killed_none(tmp_path: Path) -> None:
    dies(tmp_path, "r_1")
    dies(tmp_path, "r_1")
    deciding = Deciding.open(tmp_path)
    await take(deciding, "r_1")
    deciding.close()
    dies(tmp_path, "r_1")
    assert deaths(tmp_path, "r_1") == 1


async def test_suspects_are_taken_up_one_after_the_other_and_others_beside_none(
    tmp_path: Path,
) -> None:
    dies(tmp_path, "r_1")
    deciding = Deciding.open(tmp_path)
    running: set[str] = set()
    beside: dict[str, set[str]] = {}
    go = asyncio.Event()

    async def turn(run_id: str) -> None:
        async with deciding.on(run_id):
            running.add(run_id)
            beside[run_id] = set(running)
            await go.wait() if run_id == "r_other" else await asyncio.sleep(0)
            running.discard(run_id)

    tasks = [asyncio.ensure_future(turn(run_id)) for run_id in ("r_1", "r_other", "r_third")]
    go.set()
    await asyncio.gather(*tasks)
    assert beside["r_1"] == {"r_1"}
    deciding.close()


def test_two_engines_of_one_folder_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    first, second = Deciding.open(tmp_path), Deciding.open(tmp_path)
    assert len(list(tmp_path.glob("deciding.?"))) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    first.close()
    second.close()


def test_a_file_that_says_nothing_is_no_reason_not_to_start(tmp_path: Path) -> None:
    Deciding.open(tmp_path).close()
    (tmp_path / "deciding.0").write_bytes(os.urandom(10_000))
    (tmp_path / "deciding.0.json").write_text("[1", "utf-8")
    deciding = Deciding.open(tmp_path)
    assert deciding.problem("r_1") is None
    deciding.close()
