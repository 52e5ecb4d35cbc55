"""The runs of a partition that are open: what an engine looks after that takes the partition over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from nats.aio.client import Client

from partsong.contracts.state import ENDED
from partsong.contracts.subjects import Subjects
from partsong.log.summaries import summaries

__all__ = ["NatsOpenRuns", "is_open"]


def is_open(newest: Mapping[str, str]) -> bool:
    """Whether a run needs an engine, told by the headers of its newest commit."""
    return newest.get("Partsong-Status") not in ENDED or "Partsong-Webhook" in newest


class NatsOpenRuns:
    """Finds open runs by the newest commit of each run; no body is opened."""

    def __init__(self, nc: Client, stream: str, subjects: Subjects) -> None:
        self._nc, self._stream, self._subjects = nc, stream, subjects

    async def of(self, partition: int) -> AsyncIterator[str]:
        """The open runs of a partition.

        Raises:
            Unavailable: the server did not answer.
        """
        async for found in summaries(self._nc, self._stream, self._subjects.commits(partition)):
            if is_open(found.headers):
                yield self._subjects.parse_log(found.subject).run_id
