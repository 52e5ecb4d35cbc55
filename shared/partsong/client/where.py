"""Finding the bus: an address given, in the environment, or noted by a `partsong up` in its data directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from partsong.contracts.errors import Unavailable
from partsong.contracts.ids import check_id
from partsong.runtime import clock
from partsong.runtime.nats.directory_lock import alive
from partsong.runtime.progress import born
from partsong.runtime.visible import without_password

__all__ = [
    "find_caller",
    "find_data",
    "find_http",
    "find_nats",
    "find_note",
    "find_prefix",
    "find_snapshots",
    "find_troubles",
    "find_up",
    "settings_nearby",
]

_LONGEST_NOTE = 64 * 1024
_NEARBY = {"PARTSONG_NATS_URL": "nats_url", "PARTSONG_SYNC_INTERVAL": "sync_interval"}
"""What a service beside a platform shares with its services, by its name in the note."""


def find_nats(given: str | None = None, *, data: Path | None = None) -> str:
    """The URL of the NATS server; a platform that runs on the directory `data` notes its own there.

    Raises:
        Unavailable: `nats.unknown`, saying where was looked and where one could be given; `nats.no_password`: the
            platform there was given a server with a password, which it writes down nowhere.
    """
    if found := given or os.environ.get("PARTSONG_NATS_URL"):
        return found
    return _noted_nats(find_data(data))


def find_http(given: str | None = None, *, data: Path | None = None) -> str:
    """The URL of the approval service; the default one if nothing else is known."""
    noted = _noted("http_url", find_data(data))
    return given or os.environ.get("PARTSONG_URL") or noted or "http://127.0.0.1:8420"


def settings_nearby(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a service, completed by what the platform on its data directory has noted.

    A service on another server than that platform's takes nothing from it.

    Raises:
        Unavailable: `nats.unknown`: no server is named, and no platform runs on the data directory; `nats.no_password`:
            one does, and its server has a password.
    """
    data = Path(env.get("PARTSONG_DATA") or ".partsong")
    url = env.get("PARTSONG_NATS_URL") or _noted_nats(data)
    noted = {name: _noted(key, data) for name, key in _NEARBY.items()}
    if without_password(url) != noted["PARTSONG_NATS_URL"]:
        return dict(env)
    return {**{k: v for k, v in noted.items() if v}, **{k: v for k, v in env.items() if v}}


def find_prefix(given: str | None = None) -> str:
    """The first token of every subject, or several with dots between.

    Raises:
        InvalidInput: `id.invalid`: it cannot stand in a subject, where no server would ever answer.
    """
    prefix = given or os.environ.get("PARTSONG_PREFIX") or "partsong"
    for token in prefix.split("."):
        check_id("prefix", token)
    return prefix


def find_caller(given: str | None = None, *, otherwise: str = "") -> str:
    """Whose requests these are: callers begin runs by turns. One that is not named is a caller of its own.

    Raises:
        InvalidInput: `id.invalid`: the name cannot stand in a subject.
    """
    named = given or os.environ.get("PARTSONG_CALLER") or otherwise
    return check_id("caller", named) if named else f"client-{clock.new_id()}"


def find_snapshots() -> str:
    """The URL of the snapshots that the engines keep; a client that finds none there reads the log instead."""
    return os.environ.get("PARTSONG_SNAPSHOTS") or "kv:"


def find_up(data: Path, port: int | None = None) -> int | None:
    """The process id of the `partsong up` that runs the server in a data directory; None if none does.

    With `port`, none that runs another one than the server which listens there.
    """
    note = _note(data)
    services, pid, url = note.get("services"), _pid(note), urlsplit(str(note.get("nats_url", "")))
    embedded = isinstance(services, dict) and "nats" in services
    return pid if embedded and _lives(note) and port in {None, url.port} else None


def find_troubles(data: Path) -> dict[str, str]:
    """By service, why one that a `partsong up` on a data directory looks after does not run, or not for long."""
    note = _note(data)
    troubles = note.get("troubles")
    if not isinstance(troubles, dict) or not _lives(note):
        return {}
    return {str(service): str(why) for service, why in troubles.items()}


def find_data(given: Path | None = None) -> Path:
    """The data directory of the services on this machine: where marks of the log are kept."""
    return given or Path(os.environ.get("PARTSONG_DATA") or ".partsong")


def _noted(key: str, data: Path) -> str:
    """What a `partsong up` noted in its data directory; a note whose process is gone counts for nothing."""
    note = _note(data)
    return str(note.get(key, "")) if _lives(note) else ""


def _noted_nats(data: Path) -> str:
    url = _noted("nats_url", data)
    if not url:
        raise _unknown(data.absolute())
    if _note(data).get("password"):
        raise Unavailable(
            "nats.no_password",
            f"the `partsong up` on {data.absolute()} uses {url} with a password, which is written down nowhere",
            where=str(data.absolute()),
            fix="give the server's URL with user and password as PARTSONG_NATS_URL, or with --nats",
            fault="caller",
        )
    return url


def find_note(data: Path) -> Mapping[str, object]:
    """What a `partsong up` noted in its data directory, be it that it is gone; empty if there is nothing to trust."""
    return _note(data)


def _note(data: Path) -> Mapping[str, object]:
    """What stands in the note; nothing if somebody else may have written it, or it leads to another machine.

    The current directory may be anybody's: a checkout of a stranger's project, or a folder that all may write to.
    """
    try:
        with (data / "up.json").open("rb") as file:
            about = os.fstat(file.fileno())
            note = json.loads(file.read(_LONGEST_NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    ours = about.st_uid == os.geteuid() and not about.st_mode & 0o022
    if not ours or not isinstance(note, dict):
        return {}
    return note if all(_here(str(note.get(key) or "")) for key in ("nats_url", "http_url")) else {}


def _here(url: str) -> bool:
    """Whether a URL leads to this machine, or nowhere."""
    try:
        host = urlsplit(url).hostname
        return not url or host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _lives(note: Mapping[str, object]) -> bool:
    """Whether the process that wrote a note lives, and not another one that has its number by now."""
    pid = _pid(note)
    return alive(pid) and str(note.get("born") or "") in {"", born(pid or 0)}


def _pid(note: Mapping[str, object]) -> int | None:
    pid = note.get("pid")
    return pid if isinstance(pid, int) and pid > 1 else None  # 1 is always there


def _unknown(data: Path) -> Unavailable:
    gone = _pid(_note(data))
    ended = f" (the one that is noted there, process {gone}, has ended)" if gone else ""
    return Unavailable(
        "nats.unknown",
        f"no NATS server is given, PARTSONG_NATS_URL is not set, and no `partsong up` runs on {data}{ended}",
        where=str(data),
        fix="start `partsong up`; if one runs elsewhere, name its data directory with --data or PARTSONG_DATA, "
        "or its server with --nats or PARTSONG_NATS_URL",
    )
