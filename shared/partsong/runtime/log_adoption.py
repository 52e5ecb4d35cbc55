"""A server's log accepted by the services of a data directory in the place of the one that they know."""

from __future__ import annotations

from pathlib import Path

from nats.aio.client import Client

from partsong.contracts.counts import number_of
from partsong.contracts.errors import Conflict, NotFound, Unavailable
from partsong.contracts.wire.damage import BEGIN_ANEW, Damaged, Unknown, View
from partsong.contracts.wire.marks import Identity
from partsong.contracts.wire.subjects import Subjects
from partsong.log.restore import Restoring
from partsong.runtime.log_standing import onlooker
from partsong.runtime.streams import Names, caches_of, log_config, provision

__all__ = ["adopt"]


async def adopt(
    nc: Client,
    subjects: Subjects,
    data: Path,
    *,
    new: bool = False,
    keep: Path | None = None,
    replicas: int = 1,
) -> Identity:
    """Let the services of a data directory accept the log that the server holds, or a `new` one where there is none.

    Of one that has lost its first record nothing can be accepted: a new one takes its place, and what is left of it is
    copied to the folder `keep`.

    Raises:
        NotFound: `log.missing`: there is no log, and none was to be begun.
        Conflict: `log.not_empty`: there is one, and a new one was to be begun; `log.same`: it is the one known here.
    """
    async with onlooker(nc, subjects, data) as monitor:
        answer, view = await monitor.look()
        if isinstance(answer, Unknown):
            raise Unavailable("log.unknown", answer.why, retryable=True)
        found = view.identity if isinstance(view, View) else None
        known = {mark.log_id for mark in monitor.marks}
        if new:
            if isinstance(view, View) and view.messages:
                if found is not None:
                    raise _not_empty(view)
                await _set_aside(nc, subjects, keep, replicas)
            await provision(nc, subjects, replicas=replicas)
            found = await monitor.begun()
        if found is None:
            lost = isinstance(view, View) and view.messages
            raise NotFound(
                "log.missing",
                str(answer) if lost else "the server holds no log",
                fix=f"check the NATS URL and the prefix, restore the log, or {BEGIN_ANEW}",
            )
        another = isinstance(answer, Damaged) and answer.code == "log.another"
        if not new and found.log_id in known and isinstance(answer, Damaged) and not another:
            raise Conflict(
                "log.same",
                f"it is the log that is known here, and it is damaged: {answer}",
                fix="restore it with `partsong log restore`; to go on with what is left: --as-is",
            )
        await monitor.accept(found)
        return found


def _not_empty(view: View) -> Conflict:
    return Conflict(
        "log.not_empty",
        f"the server holds a log of {number_of(view.messages, 'record')}",
        fix="leave out --new to accept it",
    )


async def _set_aside(nc: Client, subjects: Subjects, keep: Path | None, replicas: int) -> None:
    names = Names.of(subjects)
    config = log_config(subjects, replicas=replicas)
    caches = caches_of(names)
    work = Restoring(nc, subjects, names.log, names.blobs, config, "", keep=keep, caches=caches)
    try:
        await work.set_aside()
    finally:
        await work.close()
