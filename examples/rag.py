"""Answers from documents: they are cut, kept as vectors in a store of your own, and an agent looks them up.

    python -m examples.rag "How do I get my money back?" --docs FOLDER

The store and the embedder are a few lines of Python here; a database or an embedding model has the same two methods.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import re
from collections import Counter
from pathlib import Path

from examples.voices import models
from partsong.agents import Agent
from partsong.testing import ToolCall
from partsong.testing.scripted import Answer
from partsong.tools import tool

SHOP = {
    "returns.md": "You may send anything back within 30 days.\n\nWe give the money back when the parcel is here.",
    "shipping.md": "A parcel takes two days.\n\nShipping is free from 40 euros.",
    "tea.md": "Green tea wants water of 70 degrees, black tea boiling water.",
}
QUESTION = "How do I get my money back?"


class Store:
    """Vectors in memory: words and their counts, compared by the angle between them."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, str, Counter[str]]] = []

    def add(self, page: str, text: str) -> None:
        """Cut a page into paragraphs, and keep each with its vector."""
        for part in re.split(r"\n\s*\n", text):
            if part.strip():
                self._kept.append((page, part.strip(), self.vector(part)))

    def nearest(self, question: str, count: int) -> list[tuple[float, str, str]]:
        """The paragraphs that are nearest, as (score, page, text)."""
        wanted = self.vector(question)
        scored = [(self._cosine(wanted, vector), page, text) for page, text, vector in self._kept]
        return sorted((one for one in scored if one[0] > 0), reverse=True)[:count]

    @staticmethod
    def vector(text: str) -> Counter[str]:
        """The words of a text; an embedding model would know their meaning, too."""
        return Counter(re.findall(r"\w{3,}", text.casefold()))

    @staticmethod
    def _cosine(one: Counter[str], other: Counter[str]) -> float:
        size = math.hypot(*one.values()) * math.hypot(*other.values())
        return sum(count * other[word] for word, count in one.items()) / size if size else 0.0


def filled(folder: Path | None) -> Store:
    """A store with the shop's pages, or with the Markdown and text files of a folder."""
    pages = SHOP
    if folder is not None:
        files = sorted(path for path in folder.rglob("*") if path.suffix in {".md", ".txt"})
        pages = {str(path.relative_to(folder)): path.read_text("utf-8") for path in files}
    store = Store()
    for page, text in pages.items():
        store.add(page, text)
    return store


async def answer(question: str, store: Store) -> str:
    """What the agent says, after it has looked."""

    @tool(side_effect="read", idempotent=True)
    def look_up(question: str) -> list[dict[str, str]]:
        """Find the paragraphs of the documents that are about a question."""
        found = store.nearest(question, 3)
        for score, page, text in found:
            print(f"read  {score:.2f}  {page}: {text.splitlines()[0]}")
        return [{"page": page, "text": text} for _, page, text in found]

    script: list[Answer] = [ToolCall("look_up", {"question": question}), "We give it back when your parcel is here (returns.md)."]  # fmt: skip
    with models(clerk=script) as model:
        agent = Agent(
            model["clerk"],
            instructions="Answer from what look_up finds, and name the page. Say so if it finds nothing.",
            tools=[look_up],
        )
        return (await agent.call(question)).text


def main() -> None:
    """Print what was read, and the answer."""
    parser = argparse.ArgumentParser(prog="python -m examples.rag", description=__doc__)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--docs", type=Path, help="a folder of Markdown or text files")
    given = parser.parse_args()
    print(asyncio.run(answer(given.question, filled(given.docs))))


if __name__ == "__main__":
    main()
