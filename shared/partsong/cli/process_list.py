"""Keeps the passwords of long-lived commands out of the list of processes, which everybody on a machine may read."""

from __future__ import annotations

import os
import sys

from partsong.runtime.visible import has_password, without_password

__all__ = ["out_of_sight"]

_VARIABLE = "PARTSONG_NATS_URL"
"""A process's environment is read by its own user only."""


def out_of_sight(url: str | None) -> str | None:
    """Moves the password of a typed URL into the environment, by starting this process's program anew.

    A URL without one gets that of the environment, if it leads to the same server.
    """
    if url is None:
        return None
    if has_password(url) and any(url in word for word in sys.orig_argv):
        os.environ[_VARIABLE] = url
        shown = without_password(url)
        words = [word.replace(url, shown) for word in sys.orig_argv[1:]]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 — ourselves
    known = os.environ.get(_VARIABLE, "")
    return known if without_password(known) == url else url
