"""Every page says how its code runs, in words that a reader sees, and the tests run it in that way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import Block, documents, read
from tests.docs.prompt import unpasteable
from tests.house.sources import ROOT, name_of

PASTE = re.compile(r"Paste the Python blocks?\b[^.]* into `python -m asyncio`")
PLATFORM = re.compile(r"directory\b.*`partsong up`|`partsong up` has to run")
COMMENTED = {"python", "yaml", "toml"}


def missing(path: Path) -> list[str]:
    """What a page does not say of its code."""
    document, lines = read(path), path.read_text("utf-8").splitlines()
    found: list[str] = []
    pasted = next((b for b in document.blocks if b.language == "python" and not b.title), None)
    if pasted is not None and not PASTE.search(_before(lines, pasted)):
        found.append(f"{pasted.place}: nothing above says that it is pasted into a prompt")
    if "platform" in document.needs and not PLATFORM.search(_before(lines, document.blocks[0])):
        found.append(f"{path}: nothing says that a platform has to run")
    end = 0
    for block in document.blocks:
        prose, end = lines[end : block.line - 2], block.line + len(block.text.splitlines())
        if block.title and not _names(block, prose):
            found.append(f"{block.place}: no reader sees that this is {block.title}")
    return found


def _before(lines: list[str], block: Block) -> str:
    return "\n".join(lines[: block.line - 1])


def _names(block: Block, prose: list[str]) -> bool:
    if block.language in COMMENTED:
        return block.text.splitlines()[:1] == [f"# {block.title}"]
    return any(f"`{block.title}`" in line for line in prose)


@pytest.mark.parametrize("path", documents(ROOT), ids=name_of)
def test_a_page_says_how_its_code_runs(path: Path) -> None:
    assert not missing(path)


def test_the_readme_has_one_block_of_python_which_is_a_whole_program() -> None:
    """Who begins copies it into the file that the next section loads; a second one would have to be told apart."""
    (block,) = [one for one in read(ROOT / "README.md").blocks if one.language == "python"]
    assert block.title
    compile(block.text, block.place, "exec")
    assert "\nif __name__ == " in block.text


SAID = "Paste the Python blocks of this page, in order, into `python -m asyncio`."


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\nawait x\n```", "pasted into a prompt"),
        (f"```python\nawait x\n```\n{SAID}\n", "pasted into a prompt"),
        ("<!-- needs: platform -->\n```bash\npartsong run list\n```", "a platform has to run"),
        ('```python title="a.py"\nx = 1\n```', "no reader sees that this is a.py"),
        ('`a.json`\n```bash\n```\nand\n```json title="a.json"\n{}\n```', "no reader sees"),
    ],
)
def test_what_a_page_does_not_say_is_found(tmp_path: Path, text: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, "utf-8")
    (found,) = missing(page)
    assert complaint in found


def test_what_a_page_says_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f'{SAID}\n```python\nx = 1\n```\n`a.json`:\n```json title="a.json"\n{{}}\n```\n'
    )
    assert missing(page) == []


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("async def f():\n    return 1\n\nprint(await f())\n#> 1\n", True),
        ("f(\n    1,\n\n    2,\n)\n", True),
        ("def f():\n    x = 1\n\n    return x\n", False),
        ("with f():\n    x = 1\nprint(x)\n", False),
        ("print('''\n", False),
        ("print(1\n", False),
    ],
)
def test_a_block_that_no_prompt_takes_is_found(text: str, fits: bool) -> None:
    assert (unpasteable(text) is None) is fits
