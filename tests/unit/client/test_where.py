"""Finding the bus: whose note in a data directory is believed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from partsong.client.where import find_nats, find_troubles, find_up, settings_nearby
from partsong.contracts.errors import Unavailable


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARTSONG_NATS_URL", "PARTSONG_DATA", "PARTSONG_URL"):
        monkeypatch.delenv(name, raising=False)


def note(data: Path, *, mode: int = 0o600, **more: object) -> None:
    ours = {"nats_url": "nats://127.0.0.1:4333", "http_url": "", "pid": os.getpid()}
    (data / "up.json").write_text(json.dumps({**ours, "services": {"nats": 1}, **more}))
    (data / "up.json").chmod(mode)


def test_our_own_note_is_believed(tmp_path: Path) -> None:
    note(tmp_path, http_url="http://[::1]:8420")
    assert find_nats(data=tmp_path) == "nats://127.0.0.1:4333"
    assert find_up(tmp_path) == os.getpid()


def test_what_up_cannot_keep_alive_is_told_while_it_runs(tmp_path: Path) -> None:
    note(tmp_path, troubles={"tool-runner": "it was replaced 3 times"})
    assert find_troubles(tmp_path) == {"tool-runner": "it was replaced 3 times"}
    note(tmp_path)
    assert find_troubles(tmp_path) == {}
    note(tmp_path, troubles={"tool-runner": "why"}, pid=2**22 + 1)
    assert find_troubles(tmp_path) == {}


@pytest.mark.parametrize(
    "strange",
    [
        {"nats_url": "nats://evil.example:4222"},
        {"nats_url": "nats://127.0.0.1.evil.example:4222"},
        {"nats_url": "nats://127.0.0.1@evil.example:4222"},
        {"http_url": "http://10.0.0.1:8420"},
        {"nats_url": "nats://[::1"},
        {"mode": 0o666},
        {"mode": 0o620},
        {"pid": 1},
        {"pid": -1},
        {"pid": 2**40},
        {"pid": "1234"},
    ],
)
def test_what_a_stranger_may_have_written_is_not(
    tmp_path: Path, strange: dict[str, object]
) -> None:
    """A checkout of somebody's project may hold such a file, and so may a folder that all may write to."""
    note(tmp_path, **strange)  # type: ignore[arg-type]  # a mode is one of them
    with pytest.raises(Unavailable, match=r"nats\.unknown"):
        find_nats(data=tmp_path)
    assert find_up(tmp_path) is None


def test_neither_is_another_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(Unavailable):
        find_nats(data=tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"pid": [1]}'])
def test_what_is_no_note_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "up.json").write_text(text)
    with pytest.raises(Unavailable):
        find_nats(data=tmp_path)


def test_a_password_that_is_not_written_down_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(tmp_path, password=True)
    with pytest.raises(Unavailable, match=r"nats\.no_password"):
        find_nats(data=tmp_path)
    with pytest.raises(Unavailable, match=r"nats\.no_password"):
        settings_nearby({"PARTSONG_DATA": str(tmp_path)})
    url = "nats://u:p@127.0.0.1:4333"
    monkeypatch.setenv("PARTSONG_NATS_URL", url)
    assert find_nats(data=tmp_path) == url


def test_a_service_beside_a_platform_with_a_password_shares_its_settings(tmp_path: Path) -> None:
    note(tmp_path, password=True, sync_interval="0.1")
    given = {"PARTSONG_DATA": str(tmp_path), "PARTSONG_NATS_URL": "nats://u:p@127.0.0.1:4333"}
    assert settings_nearby(given) == {**given, "PARTSONG_SYNC_INTERVAL": "0.1"}
    given["PARTSONG_NATS_URL"] = "nats://u:p@127.0.0.1:4334"
    assert settings_nearby(given) == given
