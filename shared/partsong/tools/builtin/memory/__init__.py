"""`remember` and `recall`: texts kept by meaning, in a file of this machine's own."""

from partsong.tools.builtin.memory.port import Embedder, Item, Match, Pin, VectorStore
from partsong.tools.builtin.memory.tools import memory_tools, recall, remember

__all__ = [
    "Embedder",
    "Item",
    "Match",
    "Pin",
    "VectorStore",
    "memory_tools",
    "recall",
    "remember",
]
