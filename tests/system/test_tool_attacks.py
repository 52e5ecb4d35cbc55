"""One tool-runner process takes every attack in turn: each is refused with its reason, and the next call is answered."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from partsong.contracts.events import CallCompleted, CallFailed, Event
from partsong.contracts.wire.work import ToolWork
from partsong.testing.nats import Bus
from tests.house.sources import ROOT
from tests.support.hinted import PATIENCE, Hinted
from tests.support.web import Web, answer, redirect, web

GROWN = 300 * 1024
"""Kilobytes that the process may grow by: no bomb went off in it, and fifty megabytes were not kept."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A call that must be refused."""

    tool: str
    args: dict[str, JsonValue]
    code: str
    says: str
    """What the refusal says, for people and models."""


def attacks(site: Web, outside: Path) -> list[Attack]:
    """At least one of each kind for each tool."""
    fetch = [
        ("http://127.0.0.1/", "http.refused_address", "closed: loopback"),
        ("http://[::ffff:127.0.0.1]/", "http.refused_address", "closed: loopback"),
        ("http://2130706433/", "http.refused_address", "closed: loopback"),
        ("http://169.254.169.254/latest/meta-data", "http.refused_address", "cloud metadata"),
        ("file:///etc/passwd", "http.bad_url", "only http and https"),
        (site.url("/away"), "http.refused_address", "closed: private"),
        (site.url("/round"), "http.too_many_redirects", "more than 5"),
        (site.url("/huge"), "http.too_large", "bytes"),
        (site.url("/bomb"), "http.too_large", "bytes"),
    ]
    files = [
        ("../secret.txt", "file.outside", "leads out"),
        (str(outside), "file.outside", "no path from the root"),
        ("out.txt", "file.outside", "leads out"),
        ("/etc/passwd", "file.outside", "no path from the root"),
        (".env", "file.denied", "may hold secrets"),
        ("huge.txt", "file.too_large", "bytes"),
    ]
    queries = [
        ("DELETE FROM users", "sql.not_a_query", "only reading"),
        ("WITH x AS (DELETE FROM users RETURNING *) SELECT * FROM x", "sql.not_a_query", ""),
        ("SELECT 1; DROP TABLE users", "sql.statements", "exactly one"),
        ("SELECT load_extension('evil')", "sql.function", "load_extension"),
        ("SELECT readfile('/etc/passwd')", "sql.function", "readfile"),
        ("SELECT * FROM sqlite_dbpage", "sql.table", "sqlite_dbpage"),
    ]
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    codes = [
        ("open('/etc/passwd').read()", "code.", ""),
        ("__import__('os').system('id')", "code.", ""),
        ("().__class__.__mro__[1].__subclasses__()", "code.", ""),
        ("import socket", "code.unsupported", "socket"),
        ("while True: pass", "code.limit", "time limit"),
        ("x = []\nwhile True: x.append('a' * 100000)", "code.limit", "memory"),
        ("9**9**9", "code.limit", ""),
        ("'x' * 50_000_000", "code.limit", ""),
        ("while True: print('x' * 1000)", "code.limit", ""),
    ]
    sums = [("9**9**9", "calculator.", ""), ("__import__('os').system('id')", "calculator.", "")]
    return [
        *(Attack("fetch_page", {"url": url}, code, says) for url, code, says in fetch),
        *(Attack("read_file", {"path": path}, code, says) for path, code, says in files),
        *(Attack("query_database", {"sql": sql}, code, says) for sql, code, says in queries),
        Attack("hasty_query", {"sql": endless}, "sql.timeout", "300ms"),
        *(Attack("hasty_code", {"code": code}, problem, says) for code, problem, says in codes),
        *(Attack("calculator", {"expression": text}, code, says) for text, code, says in sums),
        Attack("web_search", {"query": "x"}, "http.refused_address", "closed: private"),
        Attack(
            "send_webhook",
            {"url": "http://[::ffff:10.0.0.1]/", "payload": {}},
            "http.refused_address",
            "closed: private",
        ),
        Attack("remember", {"text": "x" * 100_000}, "tool.invalid_arguments", "text"),
        Attack(
            "recall",
            {"query": "x", "namespace": "../../etc"},
            "tool.invalid_arguments",
            "namespace",
        ),
        Attack("login", {"token": "hunter2"}, "tool.raised", "the token [redacted] has expired"),
        Attack("calculator", {"expression": 1}, "tool.invalid_arguments", "expression"),
        Attack("no_such_tool", {}, "tool.unknown", "no_such_tool"),
    ]


@dataclass
class Runner:
    """A tool-runner process, and the engine's side of it."""

    process: asyncio.subprocess.Process
    engine: Hinted
    calls: int = 0

    async def call(self, tool: str, args: JsonValue) -> CallCompleted | CallFailed:
        """Have a tool called in a run of its own, and wait for the end of the call."""
        self.calls += 1
        work = ToolWork(run_id=f"r_{self.calls}", call_id="t:1", node="t", tool=tool, args=args)
        await self.engine.hint(work)

        def closed(found: list[Event]) -> bool:
            return isinstance(found[-1], CallCompleted | CallFailed)

        last = (await self.engine.said(self.engine.bus.subjects.run(work.run_id), closed))[-1]
        assert isinstance(last, CallCompleted | CallFailed)
        return last

    def peak(self) -> int:
        """The most memory it ever had, in kilobytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("utf-8")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1])


@asynccontextmanager
async def a_runner(bus: Bus, folder: Path, env: dict[str, str]) -> AsyncIterator[Runner]:
    """A tool-runner in a process of its own, with the tools of `attacked` installed."""
    metadata = folder / "attacked-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: attacked\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[partsong.tools]\nattacked = tests.system.attacked:TOOLS\n"
    )
    path = [str(folder), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "partsong.cli.main", "worker", "start", "tool-runner"],
        cwd=folder,
        env={
            **os.environ,
            **env,
            "PYTHONPATH": os.pathsep.join(path),
            "PARTSONG_NATS_URL": bus.url,
            "PARTSONG_PREFIX": bus.subjects.prefix,
            "PARTSONG_DATA": str(folder / "data"),
            "PARTSONG_TOOLS": "attacked",
        },
    )
    engine = Hinted(bus, "tool-runner")
    try:
        yield Runner(process, engine)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


def _prepare(folder: Path) -> tuple[dict[str, str], Path]:
    """Files and a database worth attacking, and the settings that lead there."""
    root, outside = folder / "files", folder / "secret.txt"
    root.mkdir()
    outside.write_text("the secret")
    (root / "out.txt").symlink_to(outside)
    (root / ".env").write_text("KEY=hunter2")
    (root / "fine.txt").write_text("fine")
    (root / "huge.txt").write_bytes(b"x\n" * 25_000_000)
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executescript(
            "CREATE TABLE users (name TEXT, password TEXT); INSERT INTO users VALUES ('ada', 'hunter2')"
        )
    return {
        "PARTSONG_FILES_ROOT": str(root),
        "PARTSONG_QUERY_DATABASE_URL": f"sqlite:///{folder / 'shop.db'}",
    }, outside


async def test_every_attack_is_refused_with_a_reason_and_the_next_call_is_answered(
    bus: Bus, tmp_path: Path
) -> None:
    settings, outside = _prepare(tmp_path)
    async with web() as site:
        site.routes |= {
            "/": answer("public"),
            "/away": redirect("http://10.0.0.1/"),
            "/round": redirect("/round"),
            "/huge": answer(b"x" * 50_000_000),
            "/bomb": answer(gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"}),
            "/search": redirect("http://10.0.0.1/"),
        }
        settings |= {
            "PARTSONG_HTTP_ALLOW": site.here,
            "PARTSONG_SEARCH_URL": site.url("/"),
            "ATTACKED_SITE": str(site.port),
        }
        async with a_runner(bus, tmp_path, settings) as runner:
            await _serves(runner, site)
            before = runner.peak()
            for attack in attacks(site, outside):
                refused = await runner.call(attack.tool, attack.args)
                assert isinstance(refused, CallFailed), (attack, refused)
                assert refused.error.code.startswith(attack.code), (attack, refused.error)
                assert attack.says in refused.error.message, (attack, refused.error)
                assert "hunter2" not in refused.model_dump_json()
                answered = await runner.call("calculator", {"expression": "6 * 7"})
                assert isinstance(answered, CallCompleted), attack
                assert runner.process.returncode is None
            await _serves(runner, site)
            await _large_results_are_cut(runner)
            await _a_name_that_is_bound_anew_leads_nowhere(runner)
            assert runner.peak() - before < GROWN


async def _serves(runner: Runner, site: Web) -> None:
    """What is no attack is answered by each of the tools, and shows no secret."""
    for tool, args, said in (
        ("fetch_page", {"url": site.url("/")}, "public"),
        ("read_file", {"path": "fine.txt"}, "fine"),
        ("query_database", {"sql": "SELECT * FROM users"}, "ada"),
        ("hasty_code", {"code": "1 + 1"}, "2"),
        ("echo", {"token": "hunter2"}, "Bearer [redacted]"),
    ):
        done = await runner.call(tool, dict[str, JsonValue](args))
        assert isinstance(done, CallCompleted), done
        assert said in str(done.content)
        assert "hunter2" not in done.model_dump_json()


async def _large_results_are_cut(runner: Runner) -> None:
    done = await runner.call("huge", {})
    assert isinstance(done, CallCompleted)
    assert len(str(done.content)) < 40_000
    assert "50000000 characters in all" in str(done.content)


async def _a_name_that_is_bound_anew_leads_nowhere(runner: Runner) -> None:
    """The first answer of the name server is the one that is connected to; the second one is refused."""
    first = await runner.call("fetch_rebound", {"path": "/"})
    assert isinstance(first, CallCompleted), first
    assert first.content == "public"
    second = await runner.call("fetch_rebound", {"path": "/"})
    assert isinstance(second, CallFailed)
    assert second.error.code == "http.refused_address"
