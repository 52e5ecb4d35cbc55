"""Every NATS subject, built and parsed here and nowhere else.

The log:   <prefix>.log.<partition>.<run_id>.engine            the engine's commits
                                            .fact              results of idempotent calls
                                            .call.<call_id>    one guarded call: claim, then its closing event
                                            .command.<request_id>   one validated request
           <prefix>.log.<partition>.~.{owner|seal}             a partition's own records, of no run
           <prefix>.log.~.~.{genesis|restored|lost}            the log's own: its identity and what became of it
Beside it: <prefix>.{request,reply,work,chunk,timer,fired,dead,alive,stop,query}.…

Requests:  <prefix>.request.<verb>                             any request
           <prefix>.request.{run|fork}.<caller>.<run_id>       a run to begin, and who asks for it
                                                               (stored as `….{run|fork}.<lane>.<caller>.<run_id>`)

A subject token may not hold dots, wildcards, white space or control characters, so ids are checked, never escaped:
what you read in a subject is the id.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from partsong.contracts.errors import InvalidInput
from partsong.contracts.ids import check_id, is_id

__all__ = [
    "BEGINNINGS",
    "LANES",
    "OURS",
    "PARTITIONS",
    "Entity",
    "FiredSubject",
    "LogSubject",
    "RequestSubject",
    "Subjects",
    "call_token",
    "graph_key",
    "partition_of",
]

PARTITIONS = 32
"""Number of partitions of the log. Part of the wire format: a run's partition never changes."""

OURS = "~"
"""Ids that hold it are made by the platform; a lone one stands where a run's id would, for what concerns no run."""

BEGINNINGS = ("run", "fork")
"""Verbs of the requests by which a run begins: they wait in lanes."""

LANES = 32
"""Number of lanes in which runs wait to begin. The server puts each caller's into one of them, by a hash of the name."""

Entity: TypeAlias = Literal[
    "engine", "fact", "call", "command", "owner", "seal", "genesis", "restored", "lost"
]

_ENTITIES: dict[str, Entity] = {name: name for name in get_args(Entity)}
_PARTITIONS = {str(partition): partition for partition in range(PARTITIONS)}
_LANES = frozenset(map(str, range(LANES)))


def partition_of(run_id: str) -> int:
    """The partition of a run: crc32(run_id) % 32, the same in every language."""
    return zlib.crc32(run_id.encode()) % PARTITIONS


@dataclass(frozen=True, slots=True)
class LogSubject:
    """A parsed subject of the log."""

    partition: int
    """-1 for the records of the log as a whole."""
    run_id: str
    entity: Entity
    call_id: str | None = None
    request_id: str | None = None

    @property
    def own(self) -> bool:
        """Whether the record is the log's or a partition's own: of no run, so readers of runs skip it."""
        return self.run_id == OURS


@dataclass(frozen=True, slots=True)
class FiredSubject:
    """A parsed subject of a timer that fired: a run's, or a schedule's."""

    run_id: str = ""
    timer_id: str = ""
    schedule: str = ""
    ends: bool = False
    """The schedule is no more."""


@dataclass(frozen=True, slots=True)
class RequestSubject:
    """A parsed subject of a request, as its caller or as the stream wrote it."""

    verb: str
    lane: int | None = None
    """None if no caller is named, or if the stream has not stored it yet."""
    caller: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Subjects:
    """All subjects under one prefix; the default prefix is `partsong`."""

    prefix: str = "partsong"

    def _run(self, run_id: str) -> str:
        if run_id == OURS:
            raise InvalidInput(
                "id.invalid",
                f"run_id {run_id!r} is the log's own",
                where="run_id",
                fix="use another run_id",
            )
        return f"{self.prefix}.log.{partition_of(run_id)}.{check_id('run_id', run_id)}"

    def engine(self, run_id: str) -> str:
        """The engine's commits of a run."""
        return f"{self._run(run_id)}.engine"

    def fact(self, run_id: str) -> str:
        """Results of a run's idempotent calls."""
        return f"{self._run(run_id)}.fact"

    def call(self, run_id: str, call_id: str) -> str:
        """One claimed call of a run; see `call_token`."""
        return f"{self._run(run_id)}.call.{check_id('call_id', call_token(call_id))}"

    def command(self, run_id: str, request_id: str) -> str:
        """One validated request about a run."""
        return f"{self._run(run_id)}.command.{check_id('request id', request_id)}"

    def run(self, run_id: str) -> str:
        """Filter: everything the log holds of a run."""
        return f"{self._run(run_id)}.>"

    def log(self) -> str:
        """Filter: the whole log."""
        return f"{self.prefix}.log.>"

    def genesis(self) -> str:
        """The log's first record: which log it is."""
        return f"{self.prefix}.log.{OURS}.{OURS}.genesis"

    def restored(self) -> str:
        """What was lost when the log was restored, and since when it is another epoch."""
        return f"{self.prefix}.log.{OURS}.{OURS}.restored"

    def lost(self) -> str:
        """Stands in the place of a record that a restore could not bring back, so that the others keep theirs."""
        return f"{self.prefix}.log.{OURS}.{OURS}.lost"

    def owner(self, partition: int) -> str:
        """Who owns a partition."""
        return f"{self.prefix}.log.{partition}.{OURS}.owner"

    def seal(self, partition: int) -> str:
        """The seals of a partition."""
        return f"{self.prefix}.log.{partition}.{OURS}.seal"

    def partition(self, partition: int) -> str:
        """Filter: everything the log holds of a partition, its own records included."""
        return f"{self.prefix}.log.{partition}.>"

    def commits(self, partition: int | None = None) -> str:
        """Filter: the commits of one partition, or of all."""
        return f"{self.prefix}.log.{'*' if partition is None else partition}.*.engine"

    def calls(self) -> str:
        """Filter: all guarded calls of all runs."""
        return f"{self.prefix}.log.*.*.call.>"

    def parse_log(self, subject: str) -> LogSubject:
        """Take a log subject apart. Others may have put a record under an id that nobody of ours could name.

        Raises:
            InvalidInput: `subject.invalid` if it is not one.
        """
        tail = subject.removeprefix(f"{self.prefix}.log.")
        number, *rest = tail.split(".") if tail != subject else [""]
        match _PARTITIONS.get(number), rest:
            case int(p), ["~", "owner" | "seal" as own]:
                return LogSubject(p, OURS, _ENTITIES[own])
            case None, ["~", "genesis" | "restored" | "lost" as own] if number == OURS:
                return LogSubject(-1, OURS, _ENTITIES[own])
            case int(p), [run_id, "engine" | "fact" as entity] if _of_a_run(run_id):
                return LogSubject(p, run_id, _ENTITIES[entity])
            case int(p), [run_id, "call", id_] if _of_a_run(run_id) and is_id("call_id", id_):
                return LogSubject(p, run_id, "call", id_)
            case int(p), [run_id, "command", id_] if _of_a_run(run_id) and is_id("request id", id_):
                return LogSubject(p, run_id, "command", request_id=id_)
            case _:
                raise InvalidInput(
                    "subject.invalid",
                    f"{subject!r} is not a subject of the {self.prefix} log",
                    where="subject",
                )

    def partition_in(self, subject: str) -> int | None:
        """The partition whose filter a subject of the log matches; None for the log's own. Quicker than `parse_log`."""
        number, below, _ = subject[len(self.prefix) + 5 :].partition(".")
        return _PARTITIONS.get(number) if below else None

    def request(self, verb: str) -> str:
        """The door: run, cancel, pause, resume, signal, fork, retry, schedule, unschedule."""
        return f"{self.prefix}.request.{check_id('verb', verb)}"

    def beginning(self, verb: str, caller: str, run_id: str) -> str:
        """The door for a run that is to begin: `run` or `fork`; runs of different callers do not wait for each other."""
        return f"{self.request(verb)}.{check_id('caller', caller)}.{check_id('run_id', run_id)}"

    def beginnings(self, run_id: str) -> str:
        """Filter: stored requests for one run to begin, whoever asks."""
        return f"{self.prefix}.request.*.*.*.{check_id('run_id', run_id)}"

    def lane(self, lane: int) -> str:
        """Filter: stored requests in one lane."""
        return f"{self.prefix}.request.*.{lane}.*.*"

    def into_lanes(self) -> dict[str, str]:
        """How the stream rewrites the subject of a beginning, in the words of its configuration."""
        stem = f"{self.prefix}.request"
        tail = "{{wildcard(2)}}.{{wildcard(3)}}"
        dest = f"{stem}.{{{{wildcard(1)}}}}.{{{{partition({LANES},2)}}}}.{tail}"
        return {"src": f"{stem}.*.*.*", "dest": dest}

    def requests(self) -> str:
        """Filter: all requests."""
        return f"{self.prefix}.request.>"

    def parse_request(self, subject: str) -> RequestSubject:
        """Take the subject of a request apart.

        Raises:
            InvalidInput: `subject.invalid` if nothing is asked for there.
        """
        tail = subject.removeprefix(f"{self.prefix}.request.")
        match tail.split(".") if tail != subject else []:
            case [verb]:
                return RequestSubject(verb)
            case [verb, caller, run_id] if verb in BEGINNINGS:
                return RequestSubject(verb, None, caller, run_id)
            case [verb, lane, caller, run_id] if verb in BEGINNINGS and lane in _LANES:
                return RequestSubject(verb, int(lane), caller, run_id)
            case _:
                raise InvalidInput(
                    "subject.invalid",
                    f"{subject!r} is not the subject of a request",
                    where="subject",
                    fix=f"publish to {self.prefix}.request.<verb>, or a run to begin to "
                    f"{self.prefix}.request.run.<caller>.<run id>",
                )

    def reply(self, request_id: str) -> str:
        """Where the answer to a request is published, beside the caller's own reply subject."""
        return f"{self.prefix}.reply.{check_id('request id', request_id)}"

    def work(self, service: str, queue: str = "default") -> str:
        """Hints for one kind of worker."""
        return f"{self.prefix}.work.{check_id('service', service)}.{check_id('queue', queue)}"

    def works(self, service: str | None = None) -> str:
        """Filter: hints of a service, or all."""
        return f"{self.prefix}.work.{service}.*" if service else f"{self.prefix}.work.>"

    def chunk(self, run_id: str, node: str, call_id: str) -> str:
        """Live deltas of one call."""
        return f"{self.prefix}.chunk.{check_id('run_id', run_id)}.{check_id('node', node)}.{check_id('call_id', call_id)}"

    def chunks(self, run_id: str | None = None) -> str:
        """Filter: chunks of a run, or all."""
        return (
            f"{self.prefix}.chunk.{check_id('run_id', run_id)}.>"
            if run_id
            else f"{self.prefix}.chunk.>"
        )

    def timer(self, run_id: str, timer_id: str) -> str:
        """Where a durable timer waits."""
        return f"{self.prefix}.timer.{check_id('run_id', run_id)}.{check_id('timer_id', timer_id)}"

    def schedule(self, name: str) -> str:
        """Where a schedule waits for its next time; one token more than a run's timer."""
        return f"{self.prefix}.timer.schedule.start.{check_id('schedule', name)}"

    def schedules(self) -> str:
        """Filter: all schedules that wait for their next time, or whose time has come."""
        return f"{self.prefix}.*.schedule.start.*"

    def timers(self) -> str:
        """Filter: waiting timers."""
        return f"{self.prefix}.timer.>"

    def fired(self, run_id: str, timer_id: str) -> str:
        """Where a durable timer fires."""
        return f"{self.prefix}.fired.{check_id('run_id', run_id)}.{check_id('timer_id', timer_id)}"

    def scheduled(self, name: str) -> str:
        """Where a schedule says that its time has come."""
        return f"{self.prefix}.fired.schedule.start.{check_id('schedule', name)}"

    def unscheduled(self, name: str) -> str:
        """Where a schedule says that it is no more."""
        return f"{self.prefix}.fired.schedule.end.{check_id('schedule', name)}"

    def parse_fired(self, subject: str) -> FiredSubject:
        """Take the subject of a fired timer apart.

        Raises:
            InvalidInput: `subject.invalid` if it is not one.
        """
        tail = subject.removeprefix(f"{self.prefix}.fired.")
        match tail.split("."):
            case [run_id, timer_id] if tail != subject:
                return FiredSubject(run_id, timer_id)
            case ["schedule", "start" | "end" as what, name] if tail != subject:
                return FiredSubject(schedule=name, ends=what == "end")
            case _:
                raise InvalidInput(
                    "subject.invalid",
                    f"{subject!r} is not the subject of a timer that fired",
                    where="subject",
                )

    def fireds(self) -> str:
        """Filter: fired timers."""
        return f"{self.prefix}.fired.>"

    def dead(self, service: str) -> str:
        """Dead letters of a service."""
        return f"{self.prefix}.dead.{check_id('service', service)}"

    def deads(self) -> str:
        """Filter: all dead letters."""
        return f"{self.prefix}.dead.>"

    def alive(self, service: str, worker: str) -> str:
        """Heartbeat of one worker process."""
        return f"{self.prefix}.alive.{check_id('service', service)}.{check_id('worker', worker)}"

    def alives(self) -> str:
        """Filter: all heartbeats."""
        return f"{self.prefix}.alive.>"

    def stop(self, run_id: str) -> str:
        """Broadcast: drop what you are doing for this run."""
        return f"{self.prefix}.stop.{check_id('run_id', run_id)}"

    def stops(self) -> str:
        """Filter: all stop broadcasts."""
        return f"{self.prefix}.stop.*"

    def query(self, service: str, name: str) -> str:
        """A question to a service, answered at once on the reply subject."""
        return f"{self.prefix}.query.{check_id('service', service)}.{check_id('query', name)}"


def _of_a_run(run_id: str) -> bool:
    return run_id != OURS and is_id("run_id", run_id)


_HOOK = re.compile(r"(?:^|/)h\.[a-z_]+(?:\.[0-9]+)?\Z")


def call_token(call_id: str) -> str:
    """How a call's id stands in a subject: those of hooks have a dot, and a dot would part them."""
    return call_id.replace(".", "=") if _HOOK.search(call_id) else call_id


def graph_key(name: str) -> str:
    """The key of a graph's name or `sha256:…` hash in the bucket of graphs; keys may hold no colon."""
    return name.replace("sha256:", "sha256/", 1) if name.startswith("sha256:") else f"name/{name}"
