"""`partsong log`: verify the log, back it up, restore it, accept another one."""

from __future__ import annotations

import getpass
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from partsong.cli.group import Group
from partsong.cli.log_place import Place, insist_on_rest, place_options
from partsong.cli.output import EXIT, Output, output_option, run_async
from partsong.cli.progress import progress_of
from partsong.cli.repairs import carried, verified

if TYPE_CHECKING:
    from partsong.client import Client
    from partsong.contracts.errors import Problem
    from partsong.contracts.ranges import Range
    from partsong.contracts.wire.marks import Restored
    from partsong.log.backup import Copied
    from partsong.log.restore import Restoring
    from partsong.runtime.log_standing import Standing

__all__ = ["command"]

_replicas_option = click.option(
    "--replicas",
    type=click.Choice(["1", "3", "5"]),
    default="1",
    envvar="PARTSONG_REPLICAS",
    show_default=True,
    show_envvar=True,
    help="Servers of the NATS cluster that hold what is made.",
)


@click.group(cls=Group)
def command() -> None:
    """Verify the log, back it up, restore it, accept another one."""


@command.command(epilog="Example: partsong log verify --data /var/lib/partsong")
@place_options
@output_option
def verify(place: Place, out: Output) -> None:
    """Read the whole log and check every promise in it: marks, runs' chains, partitions' seals, holes.

    For after a crash, a full disk or a restore, and from time to time. The services are told of what is found.
    Exit code 78 if anything is wrong.
    """

    async def work() -> int:
        from partsong.log.verify import verify as read_all
        from partsong.runtime.log_standing import log_standing, tell
        from partsong.runtime.streams import Names

        async with place.client() as client:
            names = Names.of(client.subjects)
            standing = await log_standing(client.nats, client.subjects, place.data)
            _insist_on_a_log(standing, names.log)
            found = await read_all(
                client.nats,
                client.subjects,
                stream=names.log,
                blobs=names.blobs,
                head=standing.records,
                identity=standing.identity,
                progress=progress_of(out, "verified"),
            )
            if (damage := found.damage) is not None:
                await tell(client.nats, client.subjects, standing, damage)
                # What is to be done depends on what the reading has found: of whom the records were, for one.
                standing = await log_standing(client.nats, client.subjects, place.data)
        findings = _problems(found.findings, place)
        unreadable = _problems(found.unreadable, place)
        out.record(
            {
                "log": "sound" if found.ok and standing.log == "sound" else "damaged",
                **_known(log_id=standing.log_id, epoch=standing.epoch),
                "records": found.records,
                "runs": found.runs,
                "seals": found.seals,
                "sealed": found.sealed,
                **_known(marked=standing.marked),
                "says": _advice(standing.says, place)
                if standing.log != "sound" or standing.runs
                else "",
                "holes": [list(hole) for hole in found.holes],
                "lost_of": found.lost_of,
                "damaged_runs": list(found.hit),
                "accepted": [list(span) for span in found.accepted],
                "accepted_runs": list(found.accepted_runs),
                "foreign": found.foreign,
                "unreadable": unreadable if not out.plain else len(unreadable),
                "findings": findings if not out.plain else [],
            }
        )
        if out.plain and (findings or unreadable):
            click.echo()
            out.rows([*findings, *unreadable], ("code", "where", "message"))
        return EXIT["ok" if found.ok and standing.log == "sound" else "damaged"]

    sys.exit(run_async(work()))


def _problems(problems: Sequence[Problem], place: Place) -> list[dict[str, object]]:
    """Problems as they are printed; what they advise is about the log that was meant."""
    told = [problem.model_dump(exclude_none=True) for problem in problems]
    for one in told:
        if "fix" in one:
            one["fix"] = _advice(one["fix"], place)
    return told


def _insist_on_a_log(standing: Standing, stream: str) -> None:
    """Nothing that is not there is called sound.

    Raises:
        NotFound: `log.missing`.
    """
    from partsong.contracts.errors import NotFound

    if standing.log != "sound" or standing.identity is not None:
        return
    raise NotFound(
        "log.missing",
        f"nothing to verify: {stream} holds no record, and no mark says that it ever did",
        where=stream,
        fix="check the NATS URL, the prefix and the data directory",
    )


def _known(**found: object) -> dict[str, object]:
    """What is known of some values."""
    return {name: value for name, value in found.items() if value is not None}


def _advice(says: str, place: Place) -> str:
    """What is to be done, for who has just read the whole log with these options."""
    return carried(verified(says), place.address.given)


@command.command(epilog="Example: partsong log backup /backup/partsong")
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@place_options
@output_option
def backup(path: Path, place: Place, out: Output) -> None:
    """Copy the log into the folder PATH; made again, it goes on where the last copy ended.

    For every day, while all runs; and before a damaged stream is deleted, into a folder of its own.
    """

    async def work() -> int:
        from partsong.log.backup import backup as copy
        from partsong.runtime.streams import Names

        async with place.client() as client:
            names = Names.of(client.subjects)
            done = await copy(
                client.nats,
                client.subjects,
                path,
                stream=names.log,
                blobs=names.blobs,
                progress=progress_of(out, "copied"),
            )
        out.record({**asdict(done), "folder": str(done.folder)})
        if done.missing:
            out.say(_not_copied(done))
        return EXIT["damaged" if done.missing or done.blobs_missing else "ok"]

    sys.exit(run_async(work()))


@command.command(epilog="Example: partsong log restore --from /backup/partsong --by ann")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of a backup; the log's stream must be empty or missing, or take --replace.",
)
@click.option("--from-mirror", "mirror", metavar="STREAM", help="Mirror that takes its place.")
@click.option("--as-is", is_flag=True, help="Go on with what is left of it.")
@click.option(
    "--replace",
    is_flag=True,
    help="Delete the damaged stream, after all that it still holds was copied to a new folder in --data.",
)
@click.option(
    "--accept-damage",
    is_flag=True,
    help="Take a backup that lacks records or does not fit its seals: what it lacks is lost.",
)
@click.option("--by", help="Who restores it.  [default: user@host]")
@_replicas_option
@place_options
@output_option
def restore(
    source: Path | None,
    mirror: str | None,
    by: str | None,
    replicas: str,
    place: Place,
    out: Output,
    *,
    as_is: bool,
    replace: bool,
    accept_damage: bool,
) -> None:
    """Bring the log back and begin a new epoch. Stop the services first; needs an administrator's rights on NATS.

    What was lost is written into the log. Calls that may have been made in that time ask a person.
    """
    if sum((source is not None, mirror is not None, as_is)) != 1:
        raise click.UsageError("give one of --from, --from-mirror and --as-is")
    if as_is and replace:
        raise click.UsageError("--as-is keeps the stream, --replace deletes it: give one of them")
    if accept_damage and source is None:
        raise click.UsageError("--accept-damage is about a backup: give --from")
    who = by or f"{getpass.getuser()}@{socket.gethostname()}"
    keep = _new_folder(place.data) if replace else None

    async def work() -> tuple[Restored, list[str]]:
        async with place.client(at_rest=True) as client:
            await insist_on_rest(client, place, "restore")
            async with _restoring(
                client, place.data, who, out, replicas=int(replicas), keep=keep, as_is=as_is
            ) as restoring:
                done = await _restored(restoring, source, mirror, accept_damage=accept_damage)
            return done, _told(done, restoring.unclear)

    try:
        restored, told = run_async(work())
    except BaseException:  # also when it is interrupted: by then the stream may be gone
        if keep is not None and keep.exists():
            out.say(
                f"the restore is not done: give it again; what was copied of the stream before is in {keep}"
            )
        raise
    out.record(restored.model_dump(by_alias=True, exclude={"run", "events"}))
    for line in told:
        out.say(line)
    _say_kept(out, keep)
    out.say("start the services again; each accepts the log in its new epoch")


def _told(restored: Restored, unclear: tuple[Range, ...] = ()) -> list[str]:
    """What of the log did not come back, for a person; of what is `unclear` nobody knows the runs."""
    from partsong.contracts.ranges import records

    said = []
    if restored.lost:
        verb = "is" if restored.lost[0] == restored.lost[1] else "are"
        said.append(f"{records([restored.lost])} {verb} lost")
    if restored.missing:
        said.append(f"{records(restored.missing)} could not be brought back")
    if restored.runs:
        said.append(f"damaged runs, which nobody goes on with: {', '.join(restored.runs)}")
    if unclear:
        said.append(f"not known which runs are hit within {records(unclear)}")
    elif restored.missing and not restored.runs:
        said.append("no run is known to lack one of them")
    return said or ["nothing that is known of is lost"]


def _not_copied(done: Copied) -> str:
    from partsong.contracts.ranges import records

    of = f"of runs {', '.join(done.runs)}" if done.runs else "of no run that is known"
    return f"{records(done.missing)} cannot be read, {of}: a restore from here does without"


def _say_kept(out: Output, keep: Path | None) -> None:
    if keep is not None and keep.exists():
        out.say(f"what the stream held before is in {keep}")


def _new_folder(data: Path) -> Path:
    """Where what a stream holds is kept before it is deleted."""
    from partsong.runtime import clock

    return data / f"replaced-{clock.now_text().replace(':', '').replace('.', '')}"


@asynccontextmanager
async def _restoring(
    client: Client,
    data: Path,
    by: str,
    out: Output,
    *,
    replicas: int,
    keep: Path | None,
    as_is: bool,
) -> AsyncIterator[Restoring]:
    from partsong.contracts.errors import NotFound
    from partsong.log.restore import Restoring
    from partsong.runtime.log_standing import onlooker
    from partsong.runtime.streams import Names, caches_of, log_config, provision

    names = Names.of(client.subjects)
    async with onlooker(client.nats, client.subjects, data) as monitor:
        await monitor.look()
        marks = monitor.marks
    with suppress(NotFound):  # the log's stream is what is to come
        # One that gives way may be configured in any way: a restore that was interrupted leaves it as it was filled.
        await provision(
            client.nats, client.subjects, replicas=replicas, create_log=False, see_log=as_is
        )
    restoring = Restoring(
        client.nats,
        client.subjects,
        names.log,
        names.blobs,
        log_config(client.subjects, replicas=replicas),
        by,
        marks=marks,
        progress=progress_of(out, "restored"),
        checking=progress_of(out, "checked"),
        caches=caches_of(names),
        keep=keep,
    )
    try:
        yield restoring
        await provision(client.nats, client.subjects, replicas=replicas, create_log=False)
    finally:
        await restoring.close()


async def _restored(
    restoring: Restoring, source: Path | None, mirror: str | None, *, accept_damage: bool
) -> Restored:
    from partsong.log.backup import Backup

    if source is not None:
        return await restoring.from_backup(Backup(source), accept_damage=accept_damage)
    if mirror is not None:
        return await restoring.from_mirror(mirror)
    return await restoring.as_it_is()


@command.command(epilog="Example: partsong log adopt --data /var/lib/partsong")
@click.option(
    "--new",
    is_flag=True,
    help="Begin a new log where there is none, or one that has lost its first record.",
)
@_replicas_option
@place_options
@output_option
def adopt(replicas: str, place: Place, out: Output, *, new: bool) -> None:
    """Let the services of a data directory accept the log that the server holds, in the place of another one.

    For when they say log.another because they were moved to another server on purpose, and for a log of which too
    little is left: with --new, that is copied to a folder in --data, and a new log begins.
    """
    keep = _new_folder(place.data) if new else None

    async def work() -> dict[str, object]:
        from partsong.runtime.log_adoption import adopt as accept

        async with place.client(at_rest=new) as client:
            if new:
                await insist_on_rest(client, place, "--new")
            here = client.nats, client.subjects, place.data
            found = await accept(*here, new=new, keep=keep, replicas=int(replicas))
        return {"log_id": found.log_id, "epoch": found.epoch, "data": str(place.data)}

    out.record(run_async(work()))
    _say_kept(out, keep)


@command.command(epilog="Example: partsong log mirror")
@place_options
@output_option
def mirror(place: Place, out: Output) -> None:
    """Make a mirror stream of the log, for a cluster: a copy that can take the log's place.

    For before anything is lost; `log restore --from-mirror` uses it then.
    """

    async def work() -> str:
        from partsong.runtime.streams import provision_mirror

        async with place.client() as client:
            return await provision_mirror(client.nats, client.subjects)

    out.record({"mirror": run_async(work())})
