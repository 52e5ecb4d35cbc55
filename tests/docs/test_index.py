"""Every page is found from the front page: it stands in the index, and in the site's navigation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.house.sources import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


class _Loader(yaml.SafeLoader):
    """Reads `mkdocs.yml`, which names functions of its extensions."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)


def leaves(part: object) -> Iterator[str]:
    """The files that a navigation leads to."""
    match part:
        case str():
            yield part
        case list():
            for one in part:
                yield from leaves(one)
        case dict():
            for one in part.values():
                yield from leaves(one)


def navigation() -> list[str]:
    settings = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), _Loader)  # a SafeLoader
    return list(leaves(settings.get("nav", [])))


def linked(page: Path) -> set[str]:
    return set(re.findall(r"\]\((?P<target>[^)#\s]+\.md)", page.read_text("utf-8")))


def test_every_page_stands_in_the_index() -> None:
    missing = sorted(set(PAGES) - {"index.md"} - linked(DOCS / "index.md"))
    assert not missing, f"docs/index.md does not lead to {missing}"


def test_every_page_stands_in_the_navigation_once() -> None:
    found = navigation()
    assert sorted(found) == PAGES, (
        f"mkdocs.yml lacks {sorted(set(PAGES) - set(found))}, "
        f"has {sorted(set(found) - set(PAGES))} that are not there, "
        f"and twice {sorted({x for x in found if found.count(x) > 1})}"
    )


def test_a_page_that_is_left_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("* [Why](why.md#what) and [a](how-to/a.md)\n", "utf-8")
    assert linked(tmp_path / "index.md") == {"why.md", "how-to/a.md"}
    nav = [{"Home": "index.md"}, {"How to": ["how-to/a.md", {"B": "how-to/b.md"}]}]
    assert list(leaves(nav)) == ["index.md", "how-to/a.md", "how-to/b.md"]
