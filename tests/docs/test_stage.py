"""The runner of document blocks notices a document that lies."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from tests.docs.blocks import read
from tests.docs.stage import BlockFailed, Stage


def play(folder: Path, markdown: str, **environment: str) -> None:
    """Run a document given as text, indented as it stands in the test."""
    document = folder / "page.md"
    document.write_text(textwrap.dedent(markdown), "utf-8")
    scene = folder / "scene"
    scene.mkdir()
    with Stage(scene, environment).entered() as stage:
        for block in read(document).blocks:
            stage.run(block)


def test_python_blocks_share_names_and_one_event_loop(tmp_path: Path) -> None:
    play(
        tmp_path,
        """
        ```python
        import asyncio
        gate = asyncio.Event()
        waiting = asyncio.ensure_future(gate.wait()) if await asyncio.sleep(0, True) else None
        ```
        ```python
        gate.set()
        assert await waiting
        ```
        """,
    )


def test_a_block_with_an_event_loop_of_its_own_is_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match="from a running event loop"):
        play(tmp_path, "```python\nasyncio.run(asyncio.sleep(0))\n```\n")


def test_a_file_that_is_a_program_runs_as_one(tmp_path: Path) -> None:
    play(
        tmp_path,
        """
        ```python title="shop/prices.py"
        PRICE = 7
        ```
        ```python title="ask.py"
        import asyncio
        import os

        from shop.prices import PRICE


        async def main():
            print(PRICE, os.getpid() != int(os.environ["PARENT"]))


        if __name__ == "__main__":
            asyncio.run(main())
        #> 7 True
        ```
        """,
        PARENT=str(os.getpid()),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("print(await one)", "SyntaxError"),
        ("print(1)\n#> 2", "but this was printed"),
    ],
)
def test_a_program_that_does_not_run_as_a_file_is_named(
    tmp_path: Path, text: str, complaint: str
) -> None:
    text += '\nif __name__ == "__main__":\n    one = 1'
    with pytest.raises(BlockFailed, match=complaint):
        play(tmp_path, f'```python title="one.py"\n{text}\n```\n')


def test_a_variable_that_a_command_sets_is_there_for_the_next_ones(tmp_path: Path) -> None:
    play(
        tmp_path,
        """
        ```console
        $ name="two words"
        $ echo "$name"
        two words
        ```
        ```bash
        test "$name" = "two words"
        ```
        """,
    )


def test_a_titled_block_is_a_file_for_the_blocks_after_it(tmp_path: Path) -> None:
    play(
        tmp_path,
        """
        ```python title="shop/prices.py"
        PRICE = 7
        ```
        ```python
        from shop.prices import PRICE
        assert PRICE == 7
        ```
        ```bash
        grep -q "PRICE = 7" shop/prices.py
        ```
        """,
    )


def test_output_is_compared_with_what_the_document_shows(tmp_path: Path) -> None:
    play(
        tmp_path,
        """
        ```python
        print("took 12 ms", "for 3 steps")
        #> took ... ms for 3 steps
        ```
        ```console
        $ echo one && \\
        > echo two
        one
        two
        $ true
        ```
        """,
    )


@pytest.mark.parametrize(
    ("language", "text", "complaint"),
    [
        ("python", "print(1)\n#> 2", "but this was printed"),
        ("bash", "echo before; false; echo after", "exit code 1"),
        ("bash", "false | true", "exit code 1"),
        ("console", "$ echo two\none", "but this was printed"),
        ("console", "one", "output before the first command"),
        ("yaml", "a: [1", "not yaml"),
        ("json", "{'a': 1}", "not json"),
        ("jsonl", "{}\n{", "not jsonl"),
        ("toml", "a = ", "not toml"),
        ("mermaid", "drawing", "not a diagram"),
        ("", "ls", "unknown info string ''"),
        ("pycon", ">>> 1", "unknown info string 'pycon'"),
        ('text title="../away"', "x", "outside the document's folder"),
    ],
)
def test_a_block_that_lies_is_named_with_its_line(
    tmp_path: Path, language: str, text: str, complaint: str
) -> None:
    with pytest.raises(BlockFailed) as failed:
        play(tmp_path, f"# Page\n\n```{language}\n{text}\n```\n")
    assert complaint in str(failed.value)
    assert "page.md:4" in str(failed.value)


def test_a_python_error_points_into_the_document(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"page\.md:4(.|\n)*ZeroDivisionError"):
        play(tmp_path, "# Page\n\n```python\none = 1\none / 0\n```\n")


def test_what_does_not_survive_pasting_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match=r"page\.md:2: line 4 .* a blank line ends a function"):
        play(tmp_path, "```python\ndef f():\n    x = 1\n\n    return x\n```\n")


def test_a_session_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    with pytest.raises(BlockFailed, match="the session has ended"):
        play(tmp_path, "```python\nimport os; os._exit(3)\n```\n")


def test_an_environment_of_tests_does_not_help_a_block(tmp_path: Path) -> None:
    """What a reader has nothing of: a module that only the tests' path leads to."""
    (tmp_path / "hidden.py").write_text("x = 1\n")
    with pytest.raises(BlockFailed, match="No module named 'hidden'"):
        play(tmp_path, "```python\nimport hidden\n```\n", PYTHONPATH=str(tmp_path))


def test_a_block_that_is_never_closed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="never closed"):
        play(tmp_path, "```python\nx = 1\n")


def test_a_text_block_does_not_run(tmp_path: Path) -> None:
    play(tmp_path, "```text\nexit 1\n```\n")


def test_a_block_in_a_list_item_is_dedented(tmp_path: Path) -> None:
    play(tmp_path, "1. First\n\n   ```python\n   if True:\n       x = 1\n   ```\n")


def test_models_of_a_document_can_be_read_by_pydantic(tmp_path: Path) -> None:
    play(
        tmp_path,
        """
        ```python
        from __future__ import annotations
        from pydantic import BaseModel

        class Price(BaseModel):
            amount: Amount

        class Amount(BaseModel):
            cents: int
        ```
        ```python
        assert Price(amount={"cents": 7}).amount.cents == 7
        ```
        """,
    )
