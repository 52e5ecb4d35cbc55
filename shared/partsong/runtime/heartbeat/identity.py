"""Identity of a worker: a name that is stable over restarts, and an incarnation that no other process has."""

from __future__ import annotations

import os
import re
import socket

from partsong.runtime import clock

__all__ = ["default_name", "worker_id"]


def default_name(service: str) -> str:
    """A name for a worker that was given none: stable over restarts in a container, unique among processes of a host."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
    return f"{service}-{host}-{os.getpid()}"


def worker_id(name: str) -> tuple[str, str]:
    """A fresh incarnation for a name, and the worker id; incarnations sort by time."""
    incarnation = clock.new_id()
    return incarnation, f"{name}~{incarnation}"
