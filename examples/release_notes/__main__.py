"""The demo: the whole platform, a graph of agents, an approval over HTTP, an engine killed with -9, a replay.

It starts everything on this machine in a directory of its own, and leaves nothing behind but the result.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from examples.on_the_bus import ROOT, platform
from examples.release_notes.steps import model, release_notes
from partsong.client import Client
from partsong.contracts import events as e
from partsong.contracts.talk.chunks import Text

SKIN = {"summary": "\033[36m", "risks": "\033[33m", "split": "\033[90m"}
OFF = "\033[0m"


def say(text: str = "") -> None:
    """One line to whoever watches."""
    print(text, flush=True)


def title(text: str) -> None:
    """A heading."""
    say(f"\n\033[1m{text}{OFF}" if sys.stdout.isatty() else f"\n== {text}")


async def http(method: str, url: str, body: object = None) -> Any:
    """One HTTP call with JSON in and out."""

    def call() -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            url, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    return await asyncio.to_thread(call)


async def show_chunks(client: Client, run_id: str) -> None:
    """Print what functions and agents say, as they say it: two voices, line by line."""
    heard: dict[str, str] = {}
    async for chunk in client.stream(run_id):
        node = chunk.call_id.partition(":")[0]
        if isinstance(chunk, Text):
            heard[node] = heard.get(node, "") + chunk.text
        ended = chunk.kind in {"end", "error"}
        if ended or len(heard.get(node, "")) > 60 or "\n" in heard.get(node, ""):
            skin, off = (SKIN.get(node, ""), OFF) if sys.stdout.isatty() else ("", "")
            for line in heard.pop(node, "").splitlines():
                say(f"{skin}{node:>8} | {line.strip()}{off}")


async def kill_engine_when_agents_speak(client: Client, run_id: str, data: Path) -> None:
    """kill -9 in the middle: both agents are on their way, none has answered."""
    asked = 0
    async for placed in client.events(run_id, follow=True):
        asked += isinstance(placed.event, e.AgentTurnRequested)
        if asked == 2:
            break
    pid = json.loads((data / "up.json").read_text())["services"]["graph-engine"]
    os.kill(pid, signal.SIGKILL)
    say(
        f"\n>>> kill -9 {pid}: the graph-engine is dead; the agents go on, the log keeps what they say\n"
    )


async def approve(client: Client, run_id: str, url: str, *, ask: bool) -> None:
    """Wait for the question, show how anybody could answer it, then answer it over HTTP: as the person says, or itself."""
    async for placed in client.events(run_id, follow=True):
        if isinstance(placed.event, e.ApprovalRequested):
            break
    found: list[Any] = []
    async with asyncio.timeout(20):
        while not found:
            page = await http("GET", f"{url}/api/approvals?status=pending&run_id={run_id}")
            found = page["items"]
            await asyncio.sleep(0.05)
    question = found[0]
    where = f"{url}/api/approvals/{question['id']}"
    title("An approval waits")
    say(f"{question['title']}\n{where}\n")
    say(f"curl -X POST {where}/decision \\")
    say(
        """     -H 'Content-Type: application/json' -d '{"decision":"approve","by":"you","reason":"reads well"}'"""
    )
    body = {"decision": "approve", "by": "demo", "reason": "reads well"}
    if ask:
        agreed = await typed("\nPublish them? [y/n] ")
        body = {
            "decision": "approve" if agreed else "reject",
            "by": "you",
            "reason": "at the terminal",
        }
    else:
        say("\nthere is no terminal, so the demo decides by itself: approve")
    await http("POST", f"{where}/decision", body)


async def typed(question: str) -> bool:
    """What a person answers at the terminal; Ctrl-C ends the wait like any other."""
    sys.stdout.write(question)
    sys.stdout.flush()
    loop, line = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, line.set)
    try:
        await line.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip().lower().startswith("y")


async def replay(client: Client, run_id: str) -> None:
    """Fold the log again; what that needs is the log."""
    title("Replay")
    live = await client.state(run_id)
    before = len([placed async for placed in client.events(run_id)])
    replayed = await client.replay(run_id)
    after = [placed.event async for placed in client.events(run_id)]
    turns = sum(isinstance(event, e.AgentTurnRequested) for event in after)
    same = replayed.ok and replayed.state == live and len(after) == before
    say(
        f"{len(after)} events folded again, every commit's hash checked: {'identical state' if same else 'DIFFERENT'}"
    )
    say(
        f"model turns in the log {turns}, made by the replay 0; events added by the replay {len(after) - before}"
    )
    if not same:
        raise SystemExit(f"replay differs: {replayed.findings}")


async def main(text: str, name: str, result: str, *, ask: bool) -> None:
    """The whole demo; `ask` whoever sits at the terminal, who may take any time."""
    title(f"Release notes from {name}: {len(text.split())} words")
    say(
        f"agents speak through {model('summary').partition(':')[0]}"
        + (
            " (scripted parts: set ANTHROPIC_API_KEY, OPENAI_API_KEY or GOOGLE_API_KEY for a real model)"
            if model("summary").startswith("scripted")
            else ""
        )
    )
    with tempfile.TemporaryDirectory(prefix="partsong-demo-") as folder:
        data = Path(folder)
        async with (
            platform(data, "examples.release_notes.steps") as where,
            Client(where["nats_url"]) as client,
        ):
            say(f"NATS {where['nats_url']}   HTTP {where['http_url']}")
            run_id = await client.start(release_notes(), {"text": text, "result": result})
            title(f"Run {run_id}")
            async with asyncio.timeout(None if ask else 90), asyncio.TaskGroup() as group:
                group.create_task(show_chunks(client, run_id))
                group.create_task(kill_engine_when_agents_speak(client, run_id, data))
                group.create_task(approve(client, run_id, where["http_url"], ask=ask))
            done = (await client.result(run_id, timeout=30)).raise_for_status()
            written = done.get("written")
            title(
                f"Done: {written}, {done['bytes']} bytes"
                if written
                else "Done: nothing was written"
            )
            await replay(client, run_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.release_notes", description=__doc__)
    parser.add_argument(
        "--input",
        type=Path,
        default=ROOT / "CHANGELOG.md",
        help="a text file (default: the changelog)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("release_notes.md"),
        help="the result (default: %(default)s)",
    )
    parser.add_argument("--yes", action="store_true", help="approve without asking")
    options = parser.parse_args()
    if not options.input.is_file():
        parser.error(f"--input: no such file: {options.input}")
    asyncio.run(
        main(
            options.input.read_text("utf-8"),
            options.input.name,
            str(options.output.resolve()),
            ask=sys.stdin.isatty() and not options.yes,
        )
    )
