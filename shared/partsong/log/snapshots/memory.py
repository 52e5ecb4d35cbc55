"""Snapshots in memory, gone with the object; and none at all."""

from __future__ import annotations

from collections.abc import Sequence

from partsong.log.snapshots.label import check, check_run, descending
from partsong.log.snapshots.port import Snapshot
from partsong.log.snapshots.retention import DEFAULT, Retention

__all__ = ["MemorySnapshots", "NoSnapshots"]


class MemorySnapshots:
    """For tests, and for runs that need not outlive their process; one event loop uses it."""

    def __init__(self, *, retention: Retention = DEFAULT) -> None:
        self._runs: dict[str, dict[int, Snapshot]] = {}
        self._retention = retention

    async def put(self, snapshot: Snapshot) -> None:
        """See `Snapshots.put`."""
        check(snapshot)
        kept = self._runs.setdefault(snapshot.run_id, {})
        kept[snapshot.seq] = snapshot
        for seq in self._retention.surplus(kept):
            del kept[seq]

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        """See `Snapshots.newest`."""
        check_run(run_id)
        kept = self._runs.get(run_id, {})
        found = (kept[seq] for seq in descending(kept, up_to))
        return next((one for one in found if version in {None, one.version}), None)

    async def list(self, run_id: str) -> Sequence[int]:
        """See `Snapshots.list`."""
        check_run(run_id)
        return sorted(self._runs.get(run_id, {}))

    async def delete(self, run_id: str) -> None:
        """See `Snapshots.delete`."""
        check_run(run_id)
        self._runs.pop(run_id, None)


class NoSnapshots:
    """Keeps nothing: every fold starts at the log's beginning."""

    async def put(self, snapshot: Snapshot) -> None:
        """See `Snapshots.put`; it loses its place at once."""
        check(snapshot)

    async def newest(
        self,
        run_id: str,
        *,
        up_to: int | None = None,  # noqa: ARG002 — the port has it
        version: str | None = None,  # noqa: ARG002
    ) -> Snapshot | None:
        """There is none."""
        check_run(run_id)
        return None

    async def list(self, run_id: str) -> Sequence[int]:
        """Always empty."""
        check_run(run_id)
        return []

    async def delete(self, run_id: str) -> None:
        """Nothing to do."""
        check_run(run_id)
