"""What waits in a document for a process that was started ends with it, and shows what it has said."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.blocks import documents, read
from tests.house.sources import ROOT

STARTED = re.compile(r"> (?P<log>\S+) 2>&1 &\n(?P<name>[A-Z]+)=\$!\n(?P<wait>until .*)")
BLOCKS = [
    block
    for path in documents(ROOT)
    for block in read(path).blocks
    if block.language == "bash" and re.search(r"&\n(.*\n)?until ", block.text)
]


def waits() -> list[tuple[str, re.Match[str]]]:
    return [(block.place, found) for block in BLOCKS for found in STARTED.finditer(block.text)]


def test_every_wait_for_a_process_is_one_of_this_form() -> None:
    assert len(waits()) >= 5
    found = sum(len(re.findall(r"&\n(.*\n)?until ", block.text)) for block in BLOCKS)
    assert found == len(waits())


@pytest.mark.parametrize(("place", "found"), waits())
def test_it_ends_with_the_process_and_shows_its_log(
    place: str, found: re.Match[str], tmp_path: Path
) -> None:
    wait = re.sub(r"partsong [^;]*;", "false;", found["wait"])  # which is never so
    script = f"(echo no room; exit 78) > {found['log']} 2>&1 &\n{found['name']}=$!\n{wait}"
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (78, b"no room\n"), place
