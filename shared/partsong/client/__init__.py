"""The client: start runs, watch them, read them again. Needs nothing but NATS."""

from partsong.client.client import Client
from partsong.contracts.results import RunResult

__all__ = ["Client", "RunResult"]
