"""Making the server agree with the table of streams, and saying so where it does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Iterable, Mapping
from typing import Literal

import nats.errors
from nats.aio.client import Client
from pydantic import JsonValue

from partsong.contracts.errors import Conflict, NotFound, PartsongError, Unavailable
from partsong.contracts.wire.differences import PAUSED, Difference, set_back
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.stream_table import (
    CONTROL,
    STARTS,
    Config,
    ConsumerSpec,
    Names,
    Setting,
    StreamSpec,
    Table,
    caches_of,
    lane_of,
    mirror_of,
    table,
)

__all__ = [
    "CONTROL",
    "MADE_ANEW",
    "STARTS",
    "Names",
    "Table",
    "caches_of",
    "check",
    "lane_of",
    "log_config",
    "log_differences",
    "provision",
    "provision_mirror",
    "table",
]

MADE_ANEW = "restart `partsong up` or any service: each makes at its start what is missing, but never a log that was there once"
"""What to do where a stream or consumer is not there."""

_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND = 10059, 10014
_TAKEN = frozenset({10058, 10148, 10013, 10105})
"""The name is in use with another configuration: streams; consumers, in the words of several server versions."""
_TRIES = 3


async def provision(
    nc: Client,
    subjects: Subjects,
    *,
    replicas: int = 1,
    within: float = 15.0,
    create_log: bool = True,
    see_log: bool = True,
) -> None:
    """Create what is missing; change nothing that is there.

    What is created is held by `replicas` servers; what is there may be held by more.
    Without `create_log` the log's stream is not made: a log that was there once and is gone is not begun anew.
    Without `see_log` nothing is asked of it either: it is about to be deleted, however it is configured.

    Many processes may do so at the same time. What is complete already is only read, so on a
    provisioned bus this needs no right to create. A single server that restarts has forgotten its
    memory streams: provision again when the connection comes back. `within` bounds each request.

    Raises:
        Conflict: `streams.mismatch`: something exists but differs; the message has both values of every field.
        NotFound: `streams.missing`: the log's stream is not there, and it was not to be created.
        Unavailable: JetStream did not answer in time, or refused.
    """
    log = frozenset({Names.of(subjects).log})
    kept, unseen = frozenset() if create_log else log, frozenset() if see_log else log
    await _Server(nc, within, create=True, kept=kept, unseen=unseen).ensure(subjects, replicas)


async def check(nc: Client, subjects: Subjects, *, replicas: int = 1, within: float = 15.0) -> None:
    """Like `provision`, but creates nothing.

    Raises:
        NotFound: `streams.missing`: a stream or consumer is not there.
        Conflict: `streams.mismatch`, as above.
        Unavailable: JetStream did not answer in time.
    """
    await _Server(nc, within, create=False).ensure(subjects, replicas)


def log_differences(subjects: Subjects, found: Mapping[str, JsonValue]) -> tuple[Difference, ...]:
    """How the configuration of the log's stream, as the server tells it, differs from the table."""
    spec = _log_spec(subjects, replicas=1)
    return tuple(_differences("stream", spec.name, spec.config, found))


async def provision_mirror(nc: Client, subjects: Subjects, *, within: float = 15.0) -> str:
    """Make a mirror of the log unless it is there; its name. It keeps positions, and can take the log's place.

    For a cluster: one copy on one server, which nothing that is done to the log's stream takes away.

    Raises:
        Unavailable: JetStream did not answer in time, or refused.
    """
    names = Names.of(subjects)
    name = mirror_of(names)
    body: JsonValue = {
        "name": name,
        "mirror": {"name": names.log},
        "storage": "file",
        "compression": "s2",
        "num_replicas": 1,
        "allow_direct": True,
        "mirror_direct": False,
    }
    server = _Server(nc, within, create=True)
    try:
        await server.config(f"STREAM.CREATE.{name}", body)
    except _Refused as refusal:
        if refusal.code not in _TAKEN:
            raise _unavailable("STREAM.CREATE", refusal) from refusal
    return name


def log_config(subjects: Subjects, *, replicas: int = 1) -> dict[str, JsonValue]:
    """The configuration of the log's stream, as it is sent to the server."""
    return _plain(_log_spec(subjects, replicas=replicas).config)


def _log_spec(subjects: Subjects, *, replicas: int) -> StreamSpec:
    name = Names.of(subjects).log
    return next(spec for spec in table(subjects, replicas=replicas).streams if spec.name == name)


class _Refused(Exception):
    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class _Server:
    """The JetStream API, spoken in JSON."""

    def __init__(
        self,
        nc: Client,
        within: float,
        *,
        create: bool,
        kept: frozenset[str] = frozenset(),
        unseen: frozenset[str] = frozenset(),
    ) -> None:
        """Streams in `kept` are not created, whatever becomes of the others; those in `unseen` are not looked at."""
        self._nc, self._within, self._create, self._kept = nc, within, create, kept
        self._unseen = unseen

    async def ensure(self, subjects: Subjects, replicas: int) -> None:
        wanted = table(subjects, replicas=replicas)
        if self._create:
            await asyncio.gather(*(self._retire(*consumer) for consumer in wanted.retired))
        await self._settle(
            self._stream(spec) for spec in wanted.streams if spec.name not in self._unseen
        )
        await self._settle(self._consumer(spec) for spec in wanted.consumers)

    async def _settle(self, jobs: Iterable[Awaitable[list[Difference]]]) -> None:
        """Do all the jobs, and report all their mismatches as one error."""
        found: list[Difference] = []
        for outcome in await asyncio.gather(*jobs, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            found += outcome
        if found:
            raise Conflict(
                "streams.mismatch",
                "the server disagrees with the table of streams:\n  "
                + "\n  ".join(map(str, found)),
                fix=f"set back what differs: {set_back(found)}; or use another prefix; nothing was changed",
                fault="platform",
            )

    async def _stream(self, spec: StreamSpec) -> list[Difference]:
        body: JsonValue = {"name": spec.name, **_plain(spec.config)}
        found = await self._get_or_create(
            f"STREAM.INFO.{spec.name}", f"STREAM.CREATE.{spec.name}", body
        )
        differences = _differences("stream", spec.name, spec.config, found)
        grown = {
            field: spec.config[field]
            for field in {*spec.grows, *spec.was}
            if not _same_field(field, spec, found)
            and (field not in spec.was or _same(spec.was[field], found.get(field)))
        }
        if self._create and len(differences) == len(grown) > 0:
            return await self._extend(spec, {**found, **_plain(grown)})
        return differences

    async def _extend(self, spec: StreamSpec, body: JsonValue) -> list[Difference]:
        """Set what earlier versions had otherwise, if nothing else differs."""
        try:
            changed = await self.config(f"STREAM.UPDATE.{spec.name}", body)
        except _Refused as refusal:
            raise _unavailable(f"STREAM.UPDATE.{spec.name}", refusal) from refusal
        return _differences("stream", spec.name, spec.config, changed)

    async def _retire(self, stream: str, consumer: str) -> None:
        """Remove a consumer of an earlier version; nothing if it is not there."""
        where = f"{stream}.{consumer}"
        try:
            await self.config(f"CONSUMER.INFO.{where}")
        except _Refused:
            return
        answer = json.loads(await self._answer(f"CONSUMER.DELETE.{where}", b""))
        if error := answer.get("error"):
            code, why = int(error.get("err_code", 0)), str(error.get("description"))
            if code != _CONSUMER_NOT_FOUND:
                raise _unavailable(f"CONSUMER.DELETE.{where}", _Refused(code, why))

    async def _consumer(self, spec: ConsumerSpec) -> list[Difference]:
        where = f"{spec.stream}.{spec.name}"
        body: JsonValue = {
            "stream_name": spec.stream,
            "action": "create",
            "config": _plain(spec.config),
        }
        found = await self._get_or_create(
            f"CONSUMER.INFO.{where}", f"CONSUMER.CREATE.{where}", body
        )
        # Somebody may want that nothing is delivered for a while, so no service refuses to start because of it.
        unpaused: Config = {} if self._create else {PAUSED: ""}
        return _differences("consumer", where, {**spec.config, **unpaused}, found)

    async def _get_or_create(
        self, info: str, create: str, body: JsonValue
    ) -> Mapping[str, JsonValue]:
        try:
            return await self.config(info)
        except _Refused as refusal:
            if refusal.code not in {_STREAM_NOT_FOUND, _CONSUMER_NOT_FOUND}:
                raise _unavailable(info, refusal) from refusal
            if not self._create or create.removeprefix("STREAM.CREATE.") in self._kept:
                raise NotFound(
                    "streams.missing",
                    f"{_named(info)} is not there",
                    fix=MADE_ANEW,
                    fault="platform",
                ) from refusal
        try:
            return await self.config(create, body)
        except _Refused as refusal:
            if refusal.code not in _TAKEN:
                raise _unavailable(create, refusal) from refusal
        try:
            return await self.config(info)  # somebody else was first
        except _Refused as refusal:
            raise _unavailable(info, refusal) from refusal

    async def config(self, api: str, body: JsonValue = None) -> Mapping[str, JsonValue]:
        """The configuration in an answer."""
        try:
            payload = b"" if body is None else json.dumps(body).encode()
            answer = json.loads(await self._answer(api, payload))
        except (nats.errors.Error, TimeoutError) as error:
            raise Unavailable(
                "streams.no_answer",
                f"JetStream did not answer {api} within {self._within:g} s: {error!r}",
                fix="check that the server runs with JetStream and that this user may use its API",
                retryable=True,
            ) from error
        if "error" in answer:
            raise _Refused(
                answer["error"].get("err_code", 0), answer["error"].get("description", "")
            )
        config: dict[str, JsonValue] = answer["config"]
        if not answer.get("paused"):
            config.pop(PAUSED, None)  # it stays there when its time is over
        return config

    async def _answer(self, api: str, payload: bytes) -> bytes:
        """Asked again if no answer comes: servers that make streams for several clients at once have lost one."""
        subject, share = f"$JS.API.{api}", self._within / _TRIES
        for _ in range(_TRIES - 1):
            with contextlib.suppress(TimeoutError):
                return (await self._nc.request(subject, payload, share)).data
        return (await self._nc.request(subject, payload, share)).data


def _named(info: str) -> str:
    """The stream or consumer that a call of the API asks for, in words."""
    kind, _, name = info.split(".", 2)
    if kind == "STREAM":
        return f"stream {name}"
    stream, _, consumer = name.partition(".")
    return f"consumer {consumer} of stream {stream}"


def _plain(config: Config) -> dict[str, JsonValue]:
    """The configuration as it is sent: the server knows no empty name for a mode or a policy."""
    sent = {field: value for field, value in config.items() if value not in ("", [], {})}
    return {field: _copied(value) for field, value in sent.items()}


def _copied(value: Setting) -> JsonValue:
    if isinstance(value, list):
        return [*value]
    return {**value} if isinstance(value, dict) else value


def _same_field(field: str, spec: StreamSpec, found: Mapping[str, JsonValue]) -> bool:
    return field not in spec.config or _same(spec.config[field], found.get(field))


def _differences(
    kind: Literal["stream", "consumer"], name: str, wanted: Config, found: Mapping[str, JsonValue]
) -> list[Difference]:
    """The fields that differ. The server leaves out what is empty, and writes one filter as `filter_subject`."""
    actual = dict(found)
    if "filter_subject" in actual:
        actual["filter_subjects"] = [actual["filter_subject"]]
    if _more_replicas(wanted, actual):
        wanted = {k: v for k, v in wanted.items() if k not in {"num_replicas", "persist_mode"}}
    return [
        Difference(kind, name, field, value, actual.get(field))
        for field, value in wanted.items()
        if not _same(value, actual.get(field))
    ]


def _more_replicas(wanted: Config, found: Mapping[str, JsonValue]) -> bool:
    """Whether a stream is held by more servers than it need be; such a one has no mode of persistence to choose."""
    need, have = wanted.get("num_replicas", 0), found.get("num_replicas", 0)
    return isinstance(need, int) and isinstance(have, int) and have > need > 0


def _same(wanted: Setting, found: JsonValue) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        return sorted(wanted) == sorted(map(str, found))
    return wanted == found or (not wanted and not found)


def _unavailable(api: str, refusal: _Refused) -> PartsongError:
    return Unavailable(
        "streams.refused",
        f"JetStream refused {api}: {refusal}",
        fix="the server's own words say why",
        retryable=False,
    )
