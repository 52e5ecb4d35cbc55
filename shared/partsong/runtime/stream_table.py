"""The table of everything the bus stores: streams, consumers, buckets. Nothing else may create any.

Values are those of the JetStream API itself (durations in nanoseconds), because nats-py's own classes do not know
`allow_atomic`, `persist_mode` and `allow_msg_schedules`. What the table says is what is compared
with the server, so every limit is written out, also where it is the server's default.

`deny_delete` and `deny_purge` can never be switched off again on a stream that has them.

Nothing grows without end, but the log and the bodies beside it, which keep everything: their limit is the disk (see
`log/full.py`). What is asked for or still to be done is refused when there is no room (discard new), and whoever asks is
told; what is only kept, the oldest of it goes (discard old). Limits are in messages and in bytes of one message: a limit
in bytes of a stream is taken off the server's store when the stream is made, also while nothing is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from partsong.contracts.services import WORKERS
from partsong.contracts.wire.subjects import BEGINNINGS, LANES, PARTITIONS, Subjects

__all__ = [
    "CONTROL",
    "LARGEST_REQUEST",
    "STARTS",
    "Config",
    "ConsumerSpec",
    "Names",
    "Setting",
    "StreamSpec",
    "Table",
    "caches_of",
    "lane_of",
    "mirror_of",
    "table",
]

Setting: TypeAlias = str | int | bool | list[str] | dict[str, str]
Config = Mapping[str, Setting]

STARTS = ("run", "fork", "schedule", "unschedule")
CONTROL = ("cancel", "pause", "resume", "retry", "signal")
"""Requests by the consumer that takes them: what steers a run never waits behind runs that begin.

Runs to begin whose caller is named are taken by consumers of their own, one for each lane.
"""

LARGEST_REQUEST = 1_000_000 + 65_536
"""Bytes of a request that is stored, with its headers; the door takes a little less."""

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_DAY = 24 * 60 * _MINUTE
_UNLIMITED: Config = {"discard": "old", "max_msgs": -1, "max_age": 0, "max_msg_size": -1}
_BUCKET: Config = {**_UNLIMITED, "discard": "new"}
"""What streams and buckets had before they had limits."""


def _forgets(most: int) -> dict[str, Setting]:
    """Of what is only kept: of more than so many the oldest goes."""
    return {"discard": "old", "max_msgs": most}


def _refuses(most: int, largest: int = -1) -> dict[str, Setting]:
    """Of what must not be lost: what comes when it is full is refused."""
    return {"discard": "new", "max_msgs": most, "max_msg_size": largest}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of the streams and buckets under one prefix."""

    log: str
    requests: str
    work: str
    chunks: str
    timers: str
    dead: str
    blobs: str
    hints: str
    graphs: str
    partitions: str
    redacted: str
    schedules: str
    snapshots: str
    threads: str
    marks: str

    @classmethod
    def of(cls, subjects: Subjects) -> Names:
        """Prefix `partsong` makes stream `PARTSONG_LOG` and bucket `partsong_blobs`; a dot becomes an underscore."""
        stem = subjects.prefix.replace(".", "_")
        upper = stem.upper()
        return cls(
            log=f"{upper}_LOG",
            requests=f"{upper}_REQUESTS",
            work=f"{upper}_WORK",
            chunks=f"{upper}_CHUNKS",
            timers=f"{upper}_TIMERS",
            dead=f"{upper}_DEAD",
            blobs=f"{stem}_blobs",
            hints=f"{stem}_hints",
            graphs=f"{stem}_graphs",
            partitions=f"{stem}_partitions",
            redacted=f"{stem}_redacted",
            schedules=f"{stem}_schedules",
            snapshots=f"{stem}_snapshots",
            threads=f"{stem}_threads",
            marks=f"{stem}_marks",
        )


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream as it must be."""

    name: str
    config: Config
    grows: frozenset[str] = frozenset({"subjects"})
    """What a stream that an earlier version made is given by this one."""
    was: Config = field(default_factory=dict[str, Setting])
    """The same, but only instead of what that version gave it: whoever has set something else by hand is asked."""


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """One durable pull consumer as it must be."""

    stream: str
    name: str
    config: Config


@dataclass(frozen=True, slots=True)
class Table:
    """Everything the bus stores under one prefix."""

    streams: tuple[StreamSpec, ...]
    consumers: tuple[ConsumerSpec, ...]
    retired: tuple[tuple[str, str], ...] = ()
    """Consumers of earlier versions, by stream and name: they are removed where they are found."""


def mirror_of(names: Names) -> str:
    """The name of the log's mirror."""
    return f"{names.log}_MIRROR"


def caches_of(names: Names) -> tuple[str, ...]:
    """Streams that say how far the log was processed, or what follows from it: all of it is made again from the log.

    A log that is restored to an earlier end lacks what they may speak of. Hints are among them: a worker would make a
    call that the log does not ask for yet, and a queue that remembers their ids takes none for it within two minutes.
    """
    return (f"KV_{names.snapshots}", f"KV_{names.partitions}", names.work)


def lane_of(lane: int) -> str:
    """The name of the consumer that takes one lane's requests."""
    return f"starts-{lane}"


def table(subjects: Subjects, *, replicas: int = 1) -> Table:
    """The table for a prefix; `replicas` is 1 for one server, 3 for a cluster."""
    names = Names.of(subjects)
    streams = (*_streams(subjects, names, replicated=replicas > 1), *_buckets(names))
    return Table(
        tuple(
            replace(spec, config={**_STREAM, "num_replicas": replicas, **spec.config})
            for spec in streams
        ),
        _consumers(subjects, names),
        (
            (names.requests, "engine"),
            *((names.log, f"engine-{partition}") for partition in range(PARTITIONS)),
        ),
    )


_STREAM: Config = {
    "retention": "limits",
    "storage": "file",
    "compression": "none",
    "discard": "old",
    "max_age": 0,
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msgs_per_subject": -1,
    "max_msg_size": -1,
    "max_consumers": -1,
    "duplicate_window": 2 * _MINUTE,
    "allow_direct": False,
    "allow_atomic": False,
    "allow_msg_schedules": False,
    "allow_msg_ttl": False,
    "allow_rollup_hdrs": False,
    "deny_delete": False,
    "deny_purge": False,
    "persist_mode": "",
    "sealed": False,
    "subject_transform": {},
    "no_ack": False,
}


def _streams(subjects: Subjects, names: Names, *, replicated: bool) -> tuple[StreamSpec, ...]:
    return (
        StreamSpec(
            names.log,
            {
                "subjects": [subjects.log()],
                "compression": "s2",
                "deny_delete": True,
                "deny_purge": True,
                "allow_direct": True,
                "allow_atomic": True,
            },
        ),
        # Verb by verb: what no consumer takes would stay in a work queue for ever.
        StreamSpec(
            names.requests,
            {
                "subjects": [
                    *(subjects.request(verb) for verb in (*STARTS, *CONTROL)),
                    *(f"{subjects.request(verb)}.*.*" for verb in BEGINNINGS),
                ],
                "subject_transform": subjects.into_lanes(),
                "retention": "workqueue",
                "allow_direct": True,
                **_refuses(50_000, LARGEST_REQUEST),
            },
            frozenset({"subjects", "subject_transform", "allow_direct"}),
            _UNLIMITED,
        ),
        # A lost hint does no harm, so hints are not worth an fsync; a replicated stream cannot go without. One that
        # finds no room is sent again later: the log has the call.
        StreamSpec(
            names.work,
            {
                "subjects": [subjects.works()],
                "retention": "workqueue",
                "persist_mode": "" if replicated else "async",
                **_refuses(100_000),
            },
            was=_UNLIMITED,
        ),
        *_passing(subjects, names),
    )


def _passing(subjects: Subjects, names: Names) -> tuple[StreamSpec, ...]:
    """Of what these hold, the oldest goes."""
    return (
        StreamSpec(
            names.chunks,
            {
                "subjects": [subjects.chunks()],
                "storage": "memory",
                "max_age": 15 * _MINUTE,
                "max_bytes": 64 * 1024 * 1024,
                "allow_direct": True,
            },
        ),
        # A work queue, so that a firing goes once it is handled; a waiting timer no consumer selects, so it stays.
        # Scheduling switches rollup on, and cannot refuse: of a million the oldest go, and engines let what is lost fire
        # late.
        StreamSpec(
            names.timers,
            {
                "subjects": [subjects.timers(), subjects.fireds()],
                "retention": "workqueue",
                "allow_msg_schedules": True,
                "allow_rollup_hdrs": True,
                **_forgets(1_000_000),
                "max_msg_size": 65_536,
            },
            was=_UNLIMITED,
        ),
        StreamSpec(
            names.dead,
            {
                "subjects": [subjects.deads()],
                "allow_direct": True,
                **_forgets(10_000),
                "max_age": 30 * _DAY,
                "max_msg_size": 256 * 1024,
            },
            was=_UNLIMITED,
        ),
    )


def _buckets(names: Names) -> tuple[StreamSpec, ...]:
    """Two object stores and seven key-value stores, laid out as every NATS client expects them."""
    common: Config = {
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "compression": "s2",
    }
    key_value: Config = {
        **common,
        "max_msgs_per_subject": 1,
        "deny_delete": True,
        "allow_msg_ttl": True,
    }
    return (
        _objects(names.blobs, common),
        # Parts of hints: only what waits in the queue needs them, and who sends it again puts them again.
        _objects(names.hints, {**common, **_forgets(100_000), "max_age": 6 * 60 * _MINUTE}),
        *(
            StreamSpec(
                f"KV_{bucket}",
                {**key_value, "subjects": [f"$KV.{bucket}.>"], **limits},
                was=_BUCKET,
            )
            for bucket, limits in (
                (names.graphs, _refuses(20_000, 2 * 1024 * 1024)),  # each by its hash and its name
                (names.marks, _refuses(10_000)),
                (names.partitions, _refuses(1_000)),
                # What nobody may see lies here until its call is made, and no longer than for a month.
                (
                    names.redacted,
                    {**_forgets(100_000), "max_age": 30 * _DAY, "max_msg_size": 516 * 1024},
                ),
                (names.schedules, _refuses(10_000, 2 * 1024 * 1024)),
                (names.snapshots, _forgets(100_000)),  # can be made again
                (names.threads, _refuses(1_000_000, 1024 * 1024)),
            )
        ),
    )


def _objects(bucket: str, config: Config) -> StreamSpec:
    subjects = [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"]
    return StreamSpec(f"OBJ_{bucket}", {**config, "subjects": subjects})


_CONSUMER: Config = {
    "ack_policy": "explicit",
    "deliver_policy": "all",
    "replay_policy": "instant",
    "max_deliver": -1,
    "max_waiting": 512,
    "max_ack_pending": 1024,
    "num_replicas": 0,
    "mem_storage": False,
    "headers_only": False,
    "inactive_threshold": 0,
}


def _consumers(subjects: Subjects, names: Names) -> tuple[ConsumerSpec, ...]:
    return (
        *(
            _durable(
                names.requests,
                name,
                [subjects.request(verb) for verb in verbs],
                ack_wait=3 * _SECOND,
            )
            for name, verbs in (("starts", STARTS), ("control", CONTROL))
        ),
        *(
            _durable(
                names.requests,
                lane_of(lane),
                [subjects.lane(lane)],
                ack_wait=3 * _SECOND,
            )
            for lane in range(LANES)
        ),
        _durable(names.timers, "engine", [subjects.fireds()], ack_wait=3 * _SECOND),
        *(
            _durable(names.work, service, [subjects.works(service)], ack_wait=2 * _SECOND)
            for service in WORKERS
        ),
    )


def _durable(
    stream: str, name: str, filters: list[str], **config: str | int | list[str]
) -> ConsumerSpec:
    return ConsumerSpec(
        stream,
        name,
        {**_CONSUMER, "name": name, "durable_name": name, "filter_subjects": filters, **config},
    )
