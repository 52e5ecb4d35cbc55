"""Every fenced block of the README and of docs/ does what the document says, run as the document tells its reader to.

`title="path"` saves a block as a file, and one that ends as a program does is run as `python path`. All other Python of
a page is pasted into one session of `python -m asyncio`, shell into one of bash; `text` is the only language that does
not run. `#> line` in Python and the lines under a `$ command` are the output to expect; `...` stands for anything.
`<!-- needs: platform -->` asks for a running `partsong up`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.docs.blocks import documents, read
from tests.docs.platform import BIN, running_platform
from tests.docs.stage import Stage, reader
from tests.house.sources import ROOT, name_of

KNOWN_NEEDS = {"platform"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", documents(ROOT), ids=name_of)
def test_every_block_does_what_the_document_says(path: Path, tmp_path: Path) -> None:
    document = read(path)
    assert document.needs <= KNOWN_NEEDS, f"{name_of(path)} needs {sorted(document.needs)}"
    environment = reader(tmp_path, BIN)
    with contextlib.ExitStack() as stack:
        if "platform" in document.needs:
            addresses = stack.enter_context(running_platform(tmp_path))
            if "export PARTSONG_NATS_URL" in path.read_text(
                "utf-8"
            ):  # else a directory leads there
                environment |= addresses
        stage = stack.enter_context(Stage(tmp_path, environment).entered())
        for block in document.blocks:
            stage.run(block)
