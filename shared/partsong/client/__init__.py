"""The client: start runs, watch them, ask of them, read them again. Needs nothing but NATS."""

from partsong.bus.queued import Queued
from partsong.client.client import Client, GraphLike, OnBusy, Overlap, Placed, Portable, RunSummary
from partsong.client.comparison import Comparison
from partsong.client.dead import DeadLetters, KeptLetter
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import Origin
from partsong.contracts.state.timeline import Change, Checkpoint
from partsong.contracts.state.verify import Replay

__all__ = [
    "Change",
    "Checkpoint",
    "Client",
    "Comparison",
    "DeadLetters",
    "GraphLike",
    "KeptLetter",
    "OnBusy",
    "Origin",
    "Overlap",
    "Placed",
    "Portable",
    "Queued",
    "Replay",
    "RunResult",
    "RunSummary",
]
