"""Presence: which services that a run needs are away, so that a run that sits still can say so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import nats.errors
from nats.aio.client import Client

from partsong.contracts.state import RunState
from partsong.contracts.subjects import Subjects

__all__ = ["absent"]

_WITHIN = 1.0
_CALLED = {"approval": "approval service"}


async def absent(
    nc: Client, subjects: Subjects, state: RunState, *, within: float = _WITHIN
) -> Mapping[str, str]:
    """Ask the services that owe a run something whether they are there; those that are away, each with a reason."""
    if state.ended or state.status == "queued" or (state.paused and state.stopping is None):
        return {}
    owing = {call.service for call in state.calls.values() if call.open}
    services = sorted({"graph-engine"} | owing)
    reasons = await asyncio.gather(*(_away(nc, subjects, name, within) for name in services))
    return {name: reason for name, reason in zip(services, reasons, strict=True) if reason}


async def _away(nc: Client, subjects: Subjects, service: str, within: float) -> str:
    """Why a service is taken for away; empty if it is there, or if that cannot be known."""
    who = _CALLED.get(service, service)
    try:
        await nc.request(subjects.query(service, "ping"), b"", timeout=within)
    except nats.errors.NoRespondersError:
        return f"no {who} is running"
    except TimeoutError:
        return f"no {who} has answered within {within:g} s"
    except nats.errors.Error:
        return ""
    return ""
