"""Every fenced block of the README and of docs/ does what the document says.

Blocks of one document share a folder and a Python namespace, and run in order. `text` is the only language that does
not run. `title="path"` also saves the block as a file, and a file that ends as a program does is run as one. `#> line` in Python and the lines under a `$ command` are the
output to expect; `...` stands for anything. `<!-- needs: platform -->` asks for a running `partsong up`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from tests.docs.blocks import documents, read
from tests.docs.platform import BIN, running_platform
from tests.docs.stage import Stage
from tests.house.sources import ROOT, name_of

KNOWN_NEEDS = {"platform"}
NO_KEYS = dict.fromkeys(
    ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY"), ""
)
"""Whoever runs the tests pays nobody: documents are answered by the scripted provider."""


def test_each_python_block_of_the_readme_is_a_file_that_a_reader_can_run() -> None:
    """Who begins copies a block into a file: it needs a name, and no `await` outside a function."""
    blocks = [one for one in read(ROOT / "README.md").blocks if one.language == "python"]
    assert len(blocks) >= 2
    for block in blocks:
        assert block.title, f"{block.place} names no file"
        compile(block.text, block.place, "exec")
    assert sum("__main__" in block.text for block in blocks) >= 2


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", documents(ROOT), ids=name_of)
def test_every_block_does_what_the_document_says(path: Path, tmp_path: Path) -> None:
    document = read(path)
    assert document.needs <= KNOWN_NEEDS, f"{name_of(path)} needs {sorted(document.needs)}"
    environment = {
        **NO_KEYS,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(tmp_path),
        "HOME": str(tmp_path),
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }
    with contextlib.ExitStack() as stack:
        if "platform" in document.needs:
            environment |= stack.enter_context(running_platform(tmp_path))
        stage = stack.enter_context(Stage(tmp_path, environment).entered())
        for block in document.blocks:
            stage.run(block)
