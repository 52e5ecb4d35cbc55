"""A short soak of everything at once, and proof that its oracle sees what it must."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from partsong.client import Client
from tests.soak.__main__ import Soaked, soak, verdict
from tests.soak.oracle import judge
from tests.soak.processes import a_fleet_of
from tests.soak.traffic import Traffic

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


async def test_nothing_is_wrong_after_kills_pauses_and_bad_records(tmp_path: Path) -> None:
    done = await soak(tmp_path / "soak", seconds=20, seed=8, engines=3, workers=2)
    assert not done.found, done.found[:20]
    assert done.runs > 0
    assert done.harm > 0
    said = verdict(done, seed=8, seconds=20)
    assert said.startswith(f"passed: nothing wrong in {done.runs} runs")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "passed: nothing wrong in 40 runs, 7 times harm in 20 s, seed 8"),
        (["r_1 does not end"], "failed: 1 findings in 40 runs, 7 times harm in 20 s, seed 8"),
    ],
)
def test_the_last_line_says_in_words_whether_it_passed(found: list[str], said: str) -> None:
    assert verdict(Soaked(40, 7, found), seed=8, seconds=20) == said


async def test_the_oracle_sees_an_effect_too_many_one_too_few_and_a_second_history(
    tmp_path: Path,
) -> None:
    file = tmp_path / "effects"
    fleet = await a_fleet_of(tmp_path / "soak", engines=1, workers=1)
    try:
        async with Client(fleet.nats.url, timeout=60) as client:
            rnd = random.Random(3)
            traffic = Traffic(rnd, client, lambda: fleet.http_url, str(file), set(), most=8)
            going = asyncio.ensure_future(traffic.run())
            async with asyncio.timeout(120):
                while len(traffic.asked) < 40:  # noqa: ASYNC110 — nobody tells
                    await asyncio.sleep(0.1)
            traffic.closing.set()
            await going
            assert not await traffic.finish(60)
            assert await judge(fleet, client, file, set()) == []
            lines = file.read_text("utf-8").splitlines()
            paid = next(line for line in lines if line.startswith("pay "))
            done = next(line for line in lines if line.endswith("/before:1"))
            kept = [line for line in lines if line != done]
            file.write_text("\n".join([*kept, paid]), encoding="utf-8")
            run_id = paid.removeprefix("pay ")
            newest = await client.log.last(client.subjects.engine(run_id))
            assert newest is not None
            await client.log.append(newest.subject, newest.body, id="again", headers=newest.headers)
            found = "\n".join(await judge(fleet, client, file, set()))
    finally:
        await fleet.stop()
    assert f"{run_id}: paid 2 times with 1 claims" in found
    assert "before:1 completed, and had no effect" in found
    assert f"{run_id}: log." in found
