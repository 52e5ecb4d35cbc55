"""Time zones by name."""

from __future__ import annotations

import shutil
import zoneinfo
from datetime import UTC
from pathlib import Path

import pytest

from partsong.runtime.zones import zone_of


def test_zones_are_known_by_their_names() -> None:
    assert zone_of(None) is UTC
    assert str(zone_of("Europe/Berlin")) == "Europe/Berlin"


@pytest.mark.parametrize("name", ["", "Mars/Base", "../passwd", "/etc/passwd", "Europe", "a\0b"])
def test_what_is_no_zone_is_not_found(name: str) -> None:
    with pytest.raises(LookupError):
        zone_of(name)


def test_zones_of_ones_own_lie_where_the_server_looks_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = next(path for root in zoneinfo.TZPATH if (path := Path(root, "Asia/Tokyo")).exists())
    (tmp_path / "zones" / "Own").mkdir(parents=True)
    shutil.copy(found, tmp_path / "zones" / "Own" / "Zone")
    shutil.copy(found, tmp_path / "outside")
    monkeypatch.setenv("ZONEINFO", str(tmp_path / "zones"))
    assert str(zone_of("Own/Zone")) == "Own/Zone"
    with pytest.raises(LookupError):
        zone_of("../outside")
    (tmp_path / "zones" / "bad").write_text("not a zone")
    with pytest.raises(LookupError):
        zone_of("bad")
