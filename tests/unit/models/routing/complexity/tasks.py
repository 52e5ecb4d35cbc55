"""The labelled tasks, and which of them the weights may see."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from partsong.contracts.talk.model_routing import TIERS, Tier
from partsong.models.routing.features import Context, Task

__all__ = ["Labelled", "held_out", "labelled", "train"]

_FILE = Path(__file__).with_name("tasks.jsonl")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A task and the tier that people gave it."""

    task: Task
    context: Context
    label: Tier
    lang: str

    @property
    def rank(self) -> int:
        return TIERS.index(self.label)

    @property
    def held_out(self) -> bool:
        return zlib.crc32(self.task.text.encode()) % 3 == 0


def labelled() -> list[Labelled]:
    """All of them, in the order of the file."""
    return [_read(line) for line in _FILE.read_text("utf-8").splitlines()]


def train() -> list[Labelled]:
    return [task for task in labelled() if not task.held_out]


def held_out() -> list[Labelled]:
    return [task for task in labelled() if task.held_out]


def _read(line: str) -> Labelled:
    row = json.loads(line)
    task = Task(
        row["text"],
        tuple(row.get("attachments", ())),
        tuple(row.get("tools", ())),
        row.get("output_schema"),
    )
    return Labelled(task, Context(row.get("context", 0)), row["label"], row["lang"])
