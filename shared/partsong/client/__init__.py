"""The client: start runs, watch them, read them again. Needs nothing but NATS."""

from partsong.client.client import Client, Placed, Portable, RunSummary
from partsong.contracts.results import RunResult
from partsong.contracts.verify import Replay

__all__ = ["Client", "Placed", "Portable", "Replay", "RunResult", "RunSummary"]
