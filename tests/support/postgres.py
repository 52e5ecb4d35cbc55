"""A real PostgreSQL for the session, and databases on it: for each conftest.py whose tests need one."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest

from partsong.runtime.clock import new_id

__all__ = ["a_database", "postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """`PARTSONG_TEST_POSTGRES_URL`, or a server of the session's own if PostgreSQL is installed."""
    if url := os.environ.get("PARTSONG_TEST_POSTGRES_URL"):
        yield url
        return
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: install it, or set PARTSONG_TEST_POSTGRES_URL")
    with _a_server(programs) as url:
        yield url


@asynccontextmanager
async def a_database(server: str) -> AsyncIterator[str]:
    """A fresh database on a PostgreSQL server; its URL."""
    name = f"partsong_{new_id().lower()}"
    await _sql(server, f"CREATE DATABASE {name}")
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        await _sql(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _sql(server: str, statement: str) -> None:
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _programs() -> Path | None:
    """Where initdb and pg_ctl are installed, the newest first."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return folders[0] if folders else None


@contextmanager
def _a_server(programs: Path) -> Iterator[str]:
    """A PostgreSQL server for a test session, gone afterwards; the URL of its first database."""
    home = Path(tempfile.mkdtemp(prefix="partsong-pg-"))
    who: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(home, account.pw_uid, account.pw_gid)
        who = ["runuser", "-u", "postgres", "--"]
    data, port = str(home / "data"), _free_port()
    settings = (
        f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
    )
    log = str(home / "log")

    def run(*command: str) -> None:
        subprocess.run(
            [*who, *command], cwd=home, check=True, timeout=120, stdout=subprocess.DEVNULL
        )

    try:
        initdb = str(programs / "initdb")
        run(initdb, "-D", data, "-U", "partsong", "-A", "trust", "-E", "UTF8", "--no-sync")
        run(str(programs / "pg_ctl"), "-D", data, "-l", log, "-o", settings, "-w", "start")
        try:
            yield f"postgresql://partsong@127.0.0.1:{port}/postgres"
        finally:
            run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
