"""What is deployed: pinned images, health checks, nothing open to the world, no secret written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from partsong.cli.platform import ROLES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_every_role_is_deployed(services: dict[str, Any]) -> None:
    started = {s["command"][-1] for s in services.values() if s.get("command", [""])[0] == "worker"}
    assert started == set(ROLES)


def test_every_service_has_a_health_check_and_a_pinned_image(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        _, _, tag = service["image"].rpartition(":")
        assert tag, name
        assert tag[0].isdigit(), f"{name}: {tag} is not a version"


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
