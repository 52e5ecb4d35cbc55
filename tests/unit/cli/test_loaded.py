"""What `up` says of the modules that were loaded."""

from __future__ import annotations

from partsong.cli.loaded import lines_of
from partsong.contracts.wire.offers import LoadedModule, Offer


def test_each_module_has_a_line_and_so_has_each_tool_that_takes_a_place() -> None:
    many = tuple(f"f{i:02}" for i in range(15))
    offer = Offer(
        worker="w",
        modules=(
            LoadedModule(name="shop", functions=("a", "b"), tools=("stock",)),
            LoadedModule(name="empty"),
            LoadedModule(name="large", functions=many),
        ),
        shadowed=("calculator",),
    )
    assert list(lines_of(offer)) == [
        "shop: functions a, b; tools stock",
        "empty: neither a function nor a tool at its top level",
        f"large: functions {', '.join(many[:12])} and 3 more",
        "tool calculator takes the place of the built-in one",
    ]
