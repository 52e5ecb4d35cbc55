"""Garbage collection: what a process has imported is left out of it.

Modules and what they make are a hundred thousand objects that live as long as the process. Python's collector goes over
all of them whenever a quarter as many new ones have lived for a while, and no stream, step or answer of that process
goes on meanwhile: 80 to 170 ms in a gateway that has loaded one vendor's SDK.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping

__all__ = ["leave_out_modules"]


def leave_out_modules() -> None:
    """Leave out of all collections what has been imported by now, and after each later import what is there then.

    For a process that is ours alone: what lives at such a moment is never looked at again, so a cycle of objects that
    dies later is not freed. That costs once for each time something is imported, and nothing in between.
    """
    known = len(sys.modules)
    gc.freeze()

    def leave_out(phase: str, _collection: Mapping[str, int]) -> None:
        nonlocal known
        if phase == "stop" and len(sys.modules) > known:
            known = len(sys.modules)
            gc.freeze()

    gc.callbacks.append(leave_out)
