"""How a test gets its NATS server: the order, and the errors instead of a silent skip."""

from __future__ import annotations

from pathlib import Path

import pytest

from partsong.contracts.errors import Unavailable
from partsong.testing.nats import a_nats_server, fresh_subjects


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without the variables that choose a server."""
    for name in ("PARTSONG_TEST_NATS", "PARTSONG_TEST_NATS_URL"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_url_in_the_environment_is_used_as_it_is(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("PARTSONG_TEST_NATS_URL", "nats://example:4222")
    with a_nats_server(tmp_path) as url:
        assert url == "nats://example:4222"
    assert not list(tmp_path.iterdir())


def test_a_binary_is_started_and_forced_over_a_url(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("PARTSONG_TEST_NATS_URL", "nats://example:4222")
    environment.setenv("PARTSONG_TEST_NATS", "binary")
    with a_nats_server(tmp_path) as url:
        assert url.startswith("nats://127.0.0.1:")


@pytest.mark.parametrize(
    ("forced", "where"),
    [("external", "PARTSONG_TEST_NATS_URL"), ("docker", "PARTSONG_TEST_NATS")],
)
def test_a_choice_that_cannot_be_met_is_an_error(
    environment: pytest.MonkeyPatch, tmp_path: Path, forced: str, where: str
) -> None:
    environment.setenv("PARTSONG_TEST_NATS", forced)
    with pytest.raises(Unavailable) as missing, a_nats_server(tmp_path):
        pass
    assert (missing.value.problem.code, missing.value.problem.where) == ("testing.nats", where)


def test_no_container_engine_is_an_error_with_the_ways_out(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("PARTSONG_TEST_NATS", "container")
    environment.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")
    with pytest.raises(Unavailable) as missing, a_nats_server(tmp_path):
        pass
    assert missing.value.problem.code == "testing.nats"
    assert "PARTSONG_TEST_NATS_URL" in (missing.value.problem.fix or "")


def test_every_test_has_a_prefix_of_its_own() -> None:
    assert len({fresh_subjects().prefix for _ in range(1000)}) == 1000
