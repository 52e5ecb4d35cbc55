"""The published schemas and the AsyncAPI document: up to date, complete, and true to what really travels."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from click.testing import CliRunner

from partsong.cli.asyncapi import as_yaml, asyncapi
from partsong.cli.channels import ANYBODY, CHANNELS, HEADERS, OWN, PARAMETERS
from partsong.cli.main import root
from partsong.contracts.errors import NotFound
from partsong.contracts.events import EVENTS, WRITERS
from partsong.contracts.spec.schemas import published
from partsong.contracts.wire.headers import MSG_ID, SEEN, CommitSummary
from partsong.contracts.wire.subjects import Subjects, partition_of
from partsong.runtime.stream_table import table

ROOT = Path(__file__).parents[4]
PUBLISHED = published()
DOCUMENT: dict[str, Any] = yaml.safe_load(as_yaml(asyncapi("0.1.0", PUBLISHED)))

SAMPLE = {
    "partition": str(partition_of("r_1")), "run_id": "r_1", "call_id": "a:1/t1", "node": "a", "verb": "run",
    "request_id": "q1", "service": "tool-runner", "queue": "default", "timer_id": "t1", "worker": "w~1", "schedule": "nightly", "caller": "billing", "inbox": "_INBOX.x",
}  # fmt: skip


def built() -> dict[str, str]:
    """What `Subjects` makes of the sample."""
    subjects = Subjects()
    return {
        "request": subjects.request("run"),
        "beginning": subjects.beginning("run", "billing", "r_1"),
        "reply": subjects.reply("q1"),
        "commits": subjects.engine("r_1"),
        "facts": subjects.fact("r_1"),
        "calls": subjects.call("r_1", "a:1/t1"),
        "chunks": subjects.chunk("r_1", "a", "a:1/t1"),
        "work": subjects.work("tool-runner"),
        "timer": subjects.timer("r_1", "t1"),
        "fired": subjects.fired("r_1", "t1"),
        "schedule": subjects.schedule("nightly"),
        "scheduled": subjects.scheduled("nightly"),
        "unscheduled": subjects.unscheduled("nightly"),
        "schedules": subjects.query("graph-engine", "schedules"),
        "schedules_answer": "_INBOX.x",
        "dead": subjects.dead("tool-runner"),
        "alive": subjects.alive("tool-runner", "w~1"),
        "stop": subjects.stop("r_1"),
        "tools": subjects.query("tool-runner", "tools"),
        "tools_answer": "_INBOX.x",
        "offers": subjects.query("tool-runner", "offers"),
        "offers_answer": "_INBOX.x",
        "ping": subjects.query("tool-runner", "ping"),
        "pong": "_INBOX.x",
    }


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def at(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_the_committed_files_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(root, ["schema", "export", "--check"])
    assert done.exit_code == 0, done.output


def test_a_file_that_is_out_of_date_or_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(root, ["schema", "export"]).exit_code == 0
    assert CliRunner().invoke(root, ["schema", "export", "--check"]).exit_code == 0
    changed = tmp_path / "contracts" / "schemas" / "run.started" / "v1.json"
    changed.write_text("{}")
    (tmp_path / "contracts" / "schemas" / "graph" / "v1.json").unlink()
    done = CliRunner().invoke(root, ["schema", "export", "--check"])
    assert done.exit_code == 1
    assert "run.started/v1.json" in done.output
    assert "graph/v1.json" in done.output
    assert changed.read_text() == "{}", "a check changes nothing"


def test_a_file_nobody_makes_any_more_is_named_and_an_older_version_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(root, ["schema", "export"]).exit_code == 0
    folder = tmp_path / "contracts" / "schemas"
    (folder / "run.started" / "v0.json").write_text("{}")
    assert CliRunner().invoke(root, ["schema", "export", "--check"]).exit_code == 0
    (folder / "run.dreamt").mkdir()
    (folder / "run.dreamt" / "v1.json").write_text("{}")
    done = CliRunner().invoke(root, ["schema", "export", "--check"])
    assert done.exit_code == 1
    assert "run.dreamt/v1.json" in done.output


def test_every_event_has_a_schema_of_its_current_version() -> None:
    events = {s.kind: s for s in PUBLISHED if s.family == "event"}
    assert events.keys() == EVENTS.keys()
    for kind, schema in events.items():
        properties: dict[str, Any] = json.loads(json.dumps(schema.schema["properties"]))
        assert properties["type"] == {"const": kind}
        assert properties["v"] == {"const": schema.version}
        own = EVENTS[kind].model_fields.keys() - {"id", "type", "v", "time", "cause"}
        assert properties["data"]["properties"].keys() == own


def test_fields_are_described_by_the_docstrings_below_them() -> None:
    schema = next(s.schema for s in PUBLISHED if s.kind == "call.claimed")
    lease = at(schema, "#/properties/data/properties/lease")
    assert lease["description"] == "Seconds of silence after which the claim lapses."
    edge = at(next(s.schema for s in PUBLISHED if s.kind == "graph").copy(), "#/$defs/Edge")
    assert edge["required"] == ["from", "to"]
    assert "Outcome label" in edge["properties"]["on"]["description"]


def test_members_of_a_union_must_carry_their_tag() -> None:
    schema = next(s.schema for s in PUBLISHED if s.kind == "graph")
    for node in ("FunctionNode", "AgentNode", "ToolNode", "ApprovalNode"):
        assert "type" in at(schema, f"#/$defs/{node}")["required"]


@pytest.mark.parametrize("schema", PUBLISHED, ids=lambda schema: schema.path)
def test_a_schema_refers_only_to_itself(schema: Any) -> None:
    for reference in references(schema.schema):
        assert at(schema.schema, reference) is not None


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_an_address_is_the_one_that_subjects_builds(channel: Any) -> None:
    assert channel.address.format(**SAMPLE) == built()[channel.name]
    names = set(re.findall(r"\{(\w+)\}", channel.address))
    assert names <= PARAMETERS.keys()


def test_every_stream_of_ours_keeps_some_channel() -> None:
    kept = {
        channel["x-jetstream"]["stream"]
        for channel in DOCUMENT["channels"].values()
        if "x-jetstream" in channel
    }
    ours = {
        spec.name for spec in table(Subjects()).streams if not spec.name.startswith(("KV_", "OBJ_"))
    }
    assert kept == ours


def test_every_durable_consumer_reads_some_channel() -> None:
    read = {
        (channel["x-jetstream"]["stream"], durable)
        for channel in DOCUMENT["channels"].values()
        for durable in channel.get("x-jetstream", {}).get("durables", ())
    }
    there = {
        (spec.stream, re.sub(r"-\d+$", "-{lane}", spec.name))
        for spec in table(Subjects()).consumers
    }
    assert read == there


def test_every_event_stands_on_a_channel_its_writer_sends_to() -> None:
    for kind, model in EVENTS.items():
        homes = [
            name
            for name in ("commits", "facts", "calls")
            if kind in DOCUMENT["channels"][name]["x-events"].get(WRITERS[model], ())
        ]
        assert homes, f"{kind} of {WRITERS[model]} is on no channel"


def test_every_reference_of_the_document_leads_somewhere() -> None:
    files = {schema.path for schema in PUBLISHED}
    for reference in references(DOCUMENT):
        if reference.startswith("./schemas/"):
            assert reference.removeprefix("./schemas/") in files
        else:
            assert at(DOCUMENT, reference) is not None


def test_every_message_is_used_and_every_operation_has_its_channel() -> None:
    used = {
        reference.rpartition("/")[2]
        for channel in DOCUMENT["channels"].values()
        for reference in references(channel["messages"])
    }
    assert used == DOCUMENT["components"]["messages"].keys()
    assert used >= {
        s.kind for s in PUBLISHED if s.family not in {"event", "graph", "tool", "error"}
    }
    assert OWN.keys() | HEADERS.keys() <= used


def test_every_header_of_a_commit_is_described() -> None:
    said = CommitSummary("failed", "g", "t", "e", ("n:1",), True, 1, ("r_1", 1)).headers()
    described = cast("dict[str, object]", HEADERS["commit"]["properties"])
    assert {MSG_ID, SEEN, *said} == described.keys()
    assert len(said) == len(fields(CommitSummary)), "give the new field a value here"
    for channel in CHANNELS:
        slug = "client" if channel.senders[0] == ANYBODY else channel.senders[0]
        assert f"{slug}.send.{channel.name}" in DOCUMENT["operations"]


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of schemas as a release leaves it."""
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(root, ["schema", "export", "--quiet"]).exit_code == 0
    return tmp_path / "contracts" / "schemas"


def test_schemas_may_follow_themselves(exported: Path) -> None:
    done = CliRunner().invoke(root, ["schema", "check", "--against", str(exported)])
    assert done.exit_code == 0, done.output
    assert f"{len(PUBLISHED)} schemas" in done.stderr


def test_what_an_older_release_had_and_this_one_has_not_is_refused_with_its_place(
    exported: Path,
) -> None:
    path = exported / "call.claimed" / "v1.json"
    schema = json.loads(path.read_text())
    schema["properties"]["data"]["properties"]["mood"] = {"type": "string"}
    path.write_text(json.dumps(schema))
    done = CliRunner().invoke(root, ["schema", "check", "--against", str(exported), "-o", "json"])
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)
    assert found["where"] == "call.claimed/v1.json.data.mood"
    assert found["code"] == "schema.removed"


def test_a_git_revision_will_do(exported: Path) -> None:
    top = exported.parents[1]
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "release"]):
        subprocess.run(["git", *words], cwd=top, check=True, capture_output=True)
    (exported / "graph" / "v1.json").unlink()
    done = CliRunner().invoke(root, ["schema", "check", "--against", "HEAD"])
    assert done.exit_code == 0, done.output
    assert f"{len(PUBLISHED)} schemas of HEAD" in done.stderr


def test_a_revision_or_folder_without_schemas_is_not_found(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for ref in (str(tmp_path / "empty"), "no-such-revision"):
        done = CliRunner().invoke(root, ["schema", "check", "--against", ref])
        assert isinstance(done.exception, NotFound), done.output
