"""Names of what modules hold: by them another process finds the same thing."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from partsong.runtime.module_names import at, home_of, place_of
from tests.support.shops import shop_modules

__all__ = ["shop_modules"]


@pytest.fixture
def desk(shop_modules: Path) -> ModuleType:
    return importlib.import_module("shop_t.desk")


@pytest.mark.parametrize("name", ["scaled", "Desk", "desk.lookup", "tripled", "lib.post"])
def test_what_a_module_has_is_found_where_it_was_written(desk: ModuleType, name: str) -> None:
    found = at(desk, name)
    assert place_of(found, far=True) == f"shop_t.desk:{name}"


def test_an_object_is_found_near_its_class(desk: ModuleType) -> None:
    assert place_of(desk.desk) == "shop_t.desk:desk"
    assert place_of(desk.lib) is None, "its class is written elsewhere"
    assert place_of(desk.lib, far=True) == "shop_t.desk:lib"


def test_what_no_module_has_in_public_is_not_found(
    desk: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "OrderedDict", dict, raising=False)  # as a well-known library has it
    for nobody in (
        desk.Desk(1).lookup,
        desk._secret.lookup,
        desk.desk._hidden,
        functools.partial(desk.scaled, scale=2),
        lambda state: state,
        dict,
        print,
    ):
        assert place_of(nobody, far=True) is None


def test_a_home_is_where_the_code_stands(desk: ModuleType) -> None:
    assert home_of(desk.tripled) == home_of(desk.desk.lookup) == home_of(desk.desk) == "shop_t.desk"
    assert home_of(desk.posted) == home_of(desk.desk.post) == home_of(desk.lib) == "elsewhere_x"


@pytest.mark.parametrize("path", ["functools.partial", "desk.__class__", "nothing", "", "."])
def test_a_path_leads_through_no_module_and_to_nothing_of_pythons_own(
    desk: ModuleType, path: str
) -> None:
    assert at(desk, path) is None
