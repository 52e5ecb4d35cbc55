"""The bus as an AsyncAPI 3.0 document, made from the table of subjects, the published schemas and the table of streams."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import yaml
from pydantic import JsonValue

from partsong.cli.channels import ANYBODY, CHANNELS, HEADERS, OWN, PARAMETERS, Channel
from partsong.contracts.events import EVENTS, WRITERS
from partsong.contracts.spec.schemas import Published, Schema
from partsong.contracts.wire.heartbeat import Beat
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.stream_table import Names, Table, table

__all__ = ["as_yaml", "asyncapi"]

_LOG = ("commits", "facts", "calls")


def as_yaml(document: Schema) -> str:
    """The document as it is kept in the repository."""
    head = "# Made by `partsong schema export`; do not edit.\n"
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def asyncapi(version: str, published: tuple[Published, ...]) -> Schema:
    """The document for a version of Partsong, with the default prefix. It refers to the schemas as files beside it."""
    subjects = Subjects()
    names, streams = Names.of(subjects), table(subjects)
    channels: Schema = {
        channel.name: _channel(channel, published, names, streams) for channel in CHANNELS
    }
    used = {kind: None for channel in CHANNELS for kind in _kinds(channel, published)}
    known = {schema.kind: schema for schema in published}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Partsong",
            "version": version,
            "description": "One append-only stream is bus, checkpoint, audit trail and replay store. "
            "The first token of every subject is a prefix that a deployment may change.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats"}},
        "channels": channels,
        "operations": dict(_operations()),
        "components": {"messages": {kind: _message(kind, known) for kind in used}},
    }


def _channel(
    channel: Channel, published: tuple[Published, ...], names: Names, streams: Table
) -> Schema:
    made: Schema = {"address": None if channel.address == "{inbox}" else channel.address}
    made["description"] = channel.about
    made["messages"] = {
        kind: {"$ref": f"#/components/messages/{kind}"} for kind in _kinds(channel, published)
    }
    if channel.address != "{inbox}" and (found := re.findall(r"\{(\w+)\}", channel.address)):
        made["parameters"] = {name: {"description": PARAMETERS[name]} for name in found}
    if channel.stream is not None:
        made["x-jetstream"] = _kept(channel, str(getattr(names, channel.stream)), streams)
    if channel.name in _LOG:
        made["x-events"] = _events(channel)
    return made


def _kinds(channel: Channel, published: tuple[Published, ...]) -> list[str]:
    return [
        kind
        for wanted in channel.messages
        for kind in (
            [schema.kind for schema in published if schema.family == wanted[:-1]]
            if wanted.endswith("*")
            else [wanted]
        )
    ]


def _kept(channel: Channel, stream: str, streams: Table) -> Schema:
    """Which stream keeps a channel's messages, and which durable consumers read them there."""
    config = next(spec.config for spec in streams.streams if spec.name == stream)
    durables = {
        re.sub(r"-\d+$", "-{lane}", consumer.name)
        for consumer in streams.consumers
        if consumer.stream == stream and _read_by(channel, consumer.config["filter_subjects"])
    }
    kept: Schema = {word: str(config[word]) for word in ("retention", "storage")}
    if channel.stored is not None:
        kept["address"] = channel.stored
    if age := config["max_age"]:
        kept["max_age_seconds"] = int(str(age)) // 1_000_000_000
    if durables:
        kept["durables"] = [*sorted(durables)]
    return {"stream": stream, **kept}


def _read_by(channel: Channel, filters: object) -> bool:
    """Whether one of a consumer's filters takes some subject of the channel."""
    found = filters if isinstance(filters, list) else []
    address = channel.stored or channel.address
    return any(_meet(address.split("."), str(filter).split(".")) for filter in found)


def _meet(address: list[str], filter: list[str]) -> bool:
    if filter[-1] == ">" and len(address) >= len(filter):
        address, filter = address[: len(filter) - 1], filter[:-1]
    return len(address) == len(filter) and all(
        a == f or a.startswith("{") or f == "*" for a, f in zip(address, filter, strict=True)
    )


def _events(channel: Channel) -> Schema:
    """The event types that may stand on a channel of the log, by who writes them."""
    by: dict[str, list[JsonValue]] = {}
    for kind, model in EVENTS.items():
        if (writer := WRITERS[model]) in channel.senders:
            by.setdefault(writer, []).append(kind)
    return {writer: [*types] for writer, types in by.items()}


def _operations() -> Iterator[tuple[str, Schema]]:
    for channel in CHANNELS:
        for action, roles in (("send", channel.senders), ("receive", channel.hearers)):
            for role in roles:
                slug = "client" if role == ANYBODY else role
                made: Schema = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{channel.name}"},
                    "tags": [{"name": slug}],
                }
                if channel.group is not None and action == "receive":
                    made["bindings"] = {"nats": {"queue": channel.group, "bindingVersion": "0.1.0"}}
                if channel.answer is not None:
                    made["reply"] = {"channel": {"$ref": f"#/channels/{channel.answer}"}}
                yield f"{slug}.{action}.{channel.name}", made


_BEAT: Schema = Beat.model_json_schema(
    ref_template="#/components/messages/heartbeat/payload/$defs/{model}"
)


def _message(kind: str, known: Mapping[str, Published]) -> Schema:
    made: Schema = {"name": kind}
    if kind in known:
        made["summary"] = known[kind].schema.get("description", "")
        made["payload"] = {"$ref": f"./schemas/{known[kind].path}"}
    else:
        made["payload"] = _BEAT if kind == "heartbeat" else OWN[kind]
    if kind in HEADERS:
        made["headers"] = HEADERS[kind]
    return made
