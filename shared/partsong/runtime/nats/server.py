"""A nats-server of our own: one child process, one data directory, gone when we are gone.

Four promises, and how each is kept:

no orphan       The child asks the kernel for SIGTERM at its parent's death (`PR_SET_PDEATHSIG`, Linux), so even kill -9
                of the parent stops the server. The kernel means the *thread* that started it: start it from the thread
                whose life it should share.
no two servers  The data directory has a lock file. Parent and child hold the same `flock`, so it is free exactly when
                both are gone; what the file says about pid and URL is only there for the message.
no dead end     The disk may fill. A server without room is not started, for it could not even say where it listens; one that
                could not write stores nothing more until it is started anew, and `write_error` tells that.
no lost event   `sync_interval: always`, unless `fast` trades the last 100 ms before a power cut for speed. Neither loses
                anything acknowledged when the process is killed.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import string
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from partsong.contracts.errors import PartsongError, Unavailable
from partsong.runtime.nats.binary import find_nats_server
from partsong.runtime.nats.directory_lock import Claim, claim_directory
from partsong.runtime.progress import Patience

__all__ = ["FAST_SYNC", "LEAST_FREE", "EmbeddedNats", "start_embedded"]

FAST_SYNC = 0.1
"""Seconds between two syncs of a `fast` server."""

_UNDER_PARENT = """\
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this nats-server is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""
_MEMORY = "512MiB"
"""Go's soft limit: without it scattered reads grow the block cache to 2 GB and it stays there."""
_MEMORY_STORE = "1GB"
"""What memory streams may reserve; the server would take three quarters of Go's limit, six prefixes' worth of chunks."""
_STORE = 1 << 50
"""Bytes that all streams may hold: the disk is the limit, and nothing else.

Left alone, the server takes three quarters of what is free when it starts: the more is stored already, the less may be
stored at all. A smaller number would be no better, for the server counts what it has compressed as if it had not.
"""
_PLAIN = frozenset(f"{string.ascii_letters}{string.digits}/._- ")
_POLL = 0.003
_HEALTH = 2.0
"""Seconds that a server has to say how it is."""
LEAST_FREE = 1024**2
"""Bytes that must be free on its disk for a server to start."""


_MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes of a message. A request that is too large is then refused with a reason instead of a cut connection."""


class EmbeddedNats:
    """A nats-server child process with JetStream in `data_dir`; an async context manager.

    Without `port` it listens on a free one, and `restart` keeps it, so clients find the server again. `config` is
    added to the configuration file, in nats-server's own syntax.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        fast: bool = False,
        port: int | None = None,
        binary: Path | None = None,
        timeout: float = 15.0,
        config: str = "",
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._fast, self._port, self._binary = fast, port, binary
        self._timeout, self._config = timeout, config
        self._process: subprocess.Popen[bytes] | None = None
        self._claim: Claim | None = None
        self._urls: dict[str, list[str]] = {}

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self._urls["nats"][0]

    @property
    def monitor_url(self) -> str:
        """Where the server answers HTTP: `/healthz`, `/varz`, `/jsz`."""
        return self._urls["monitoring"][0]

    @property
    def pid(self) -> int:
        """The server's process id; after `kill`, the one it had.

        Raises:
            Unavailable: it was never started.
        """
        if self._process is None:
            raise Unavailable(
                "nats.not_started",
                "the embedded nats-server is not started",
                fix="enter its context",
            )
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_file(self) -> Path:
        """What the server says about itself."""
        return self.data_dir / "nats.log"

    async def write_error(self) -> str | None:
        """What the server says of a write that failed; None if all did well, or it says nothing now.

        nats-server 2.15 stores nothing more in a stream after that, also when there is room again.
        """
        return await asyncio.to_thread(_write_error, f"{self.monitor_url}/healthz")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server and wait until JetStream answers.

        Raises:
            Conflict: a server already runs on this data directory; the message has its pid and URL.
            Unavailable: no usable nats-server is installed, or it did not come up; the message has its last words.
                `nats.disk_full`: its disk has no room for it to start.
        """
        binary = self._binary or find_nats_server()
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds all that is said
        self._check_room()
        self._claim = claim = self._claim or await claim_directory(self.data_dir)
        patience = Patience(self._timeout, self._pids)
        try:
            up = False
            while not up:
                up = await self._attempt(binary, claim, patience)
        except OSError as error:
            await self.stop()
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            raise self._no_room() from error
        except BaseException:
            await self.stop()
            raise
        claim.tell(pid=self.pid, url=self.url)

    async def stop(self) -> None:
        """Stop the server cleanly, then give up the directory; does nothing if it is not running."""
        await self._end()
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def kill(self) -> None:
        """Kill the server with -9, as a crash would, and see it dead; `restart` brings it back."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def restart(self) -> None:
        """Start the server again on the same port, after stopping it if it still runs."""
        await self._end()
        await self.start()

    def _pids(self) -> tuple[int, ...]:
        return () if self._process is None else (self._process.pid,)

    async def _attempt(self, binary: Path, claim: Claim, patience: Patience) -> bool:
        """One start; False if the port we must have is not free yet."""
        said = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = self._spawn(binary, claim)
        while not (urls := self._read_ports()):
            if self._process.poll() is not None:
                words = self._last_words(said)
                if "address already in use" in words and self._port and not patience.over:
                    await asyncio.sleep(0.1)
                    return False
                raise self._failed(
                    f"nats-server exited with status {self._process.returncode}: {words}"
                )
            self._check_room()
            if patience.over:
                raise self._failed(
                    f"nats-server was not ready, and did nothing for {self._timeout:g} s: "
                    f"{self._last_words(said)}"
                )
            await asyncio.sleep(_POLL)
        self._urls = urls
        self._port = int(self.url.rpartition(":")[2])
        return True

    def _check_room(self) -> None:
        if shutil.disk_usage(self.data_dir).free < LEAST_FREE:
            raise self._no_room()

    def _no_room(self) -> Unavailable:
        free = shutil.disk_usage(self.data_dir).free
        return Unavailable(
            "nats.disk_full",
            f"{free} bytes are free on the disk of {self.data_dir}, a nats-server needs {LEAST_FREE} to start",
            where=str(self.data_dir),
            fix="make room on that disk, then start again",
            retryable=True,
        )

    def _failed(self, message: str) -> PartsongError:
        return Unavailable(
            "nats.failed_to_start",
            message,
            where=str(self.log_file),
            fix="read the log file, or use a server of yours",
        )

    def _spawn(self, binary: Path, claim: Claim) -> subprocess.Popen[bytes]:
        ports = self.data_dir / "ports"
        ports.mkdir(mode=0o700, exist_ok=True)
        for old in ports.glob("*.ports"):
            old.unlink(missing_ok=True)
        conf, part = self.data_dir / "nats.conf", self.data_dir / "nats.conf.part"
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_text(self._conf(ports), encoding="utf-8")
        part.replace(conf)  # a full disk must not leave half of it
        command = [str(binary), "-c", str(conf)]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _UNDER_PARENT, str(os.getpid()), *command]
        self.log_file.touch(mode=0o600)
        with self.log_file.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 — our own binary, our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(claim.fd,),
                start_new_session=True,  # Ctrl-C is for the parent, which stops the server last
                umask=0o077,
                env={"GOMEMLIMIT": _MEMORY, **os.environ},
            )

    def _conf(self, ports: Path) -> str:
        sync = f"{FAST_SYNC * 1000:g}ms" if self._fast else "always"
        return (
            f'host: "127.0.0.1"\nport: {self._port or -1}\nhttp: "127.0.0.1:-1"\n'
            f"ports_file_dir: {_quoted(ports)}\nmax_payload: {_MAX_PAYLOAD}\n"
            f"jetstream {{ store_dir: {_quoted(self.data_dir)}, max_memory_store: {_MEMORY_STORE}, "
            f"max_file_store: {_STORE}, sync_interval: {sync} }}\n{self._config}\n"
        )

    def _read_ports(self) -> dict[str, list[str]] | None:
        """The URLs, once the server has written them: it does so when it accepts clients and JetStream is up."""
        try:
            found = json.loads(
                (self.data_dir / "ports" / f"nats-server_{self.pid}.ports").read_bytes()
            )
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return {kind: list(urls) for kind, urls in found.items()}

    def _last_words(self, after: int, lines: int = 8) -> str:
        with self.log_file.open("rb") as log:
            log.seek(after)
            said = log.read().decode(errors="replace").strip()
        return "\n".join(said.splitlines()[-lines:]) or "it said nothing"

    async def _end(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        patience = Patience(self._timeout, self._pids)
        while process.poll() is None:
            if patience.over:
                process.kill()
                process.wait()
                return
            await asyncio.sleep(_POLL)


def _quoted(path: Path) -> str:
    r"""A path as nats-server's configuration reads it: it knows `\\x..`, byte by byte, and none of JSON's `\\u....`."""
    said = "".join(
        chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(path)
    )
    return f'"{said}"'


def _write_error(healthz: str) -> str | None:
    try:
        with urllib.request.urlopen(healthz, timeout=_HEALTH):  # noqa: S310 — our own server
            return None
    except urllib.error.HTTPError as error:
        said = _error_in(error.read())
    except (OSError, ValueError):
        return None
    return said if "write error" in said else None


def _error_in(body: bytes) -> str:
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    return str(said.get("error", "")) if isinstance(said, dict) else ""


def start_embedded(
    data_dir: Path,
    *,
    fast: bool = False,
    port: int | None = None,
    binary: Path | None = None,
    config: str = "",
) -> EmbeddedNats:
    """A server for the length of an `async with` block, with its data in `data_dir`."""
    return EmbeddedNats(data_dir, fast=fast, port=port, binary=binary, config=config)
