"""Teams by name, and as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from partsong.cli.graph_file import read_graph
from partsong.cli.graphs import load_graph
from partsong.cli.output import Output
from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.graph import AgentNode, Graph
from partsong.teams import TEAMS, Member, handoff, team


def desk(model: str) -> Graph:
    return handoff({"a": Member(model, "Asks."), "b": Member(model, "Answers.")}).compile()


@pytest.mark.parametrize("name", [*TEAMS, "handoff"])
def test_a_team_is_data_that_reads_back_from_its_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = "anthropic:claude-sonnet-5-5"
    graph = desk(model) if name == "handoff" else team(f"{name}@{model}").spec()
    Output("yaml").record(graph.spec())
    path = tmp_path / "team.yaml"
    path.write_text(capsys.readouterr().out)
    assert read_graph(path).hash == graph.hash
    models = {node.agent.model for node in graph.nodes.values() if isinstance(node, AgentNode)}
    assert models == {model}


def test_a_team_is_a_graph_of_the_command_line() -> None:
    graph = load_graph("team:software@openai:gpt-5.4")
    assert isinstance(graph, Graph)
    assert graph.hash == team("software@openai:gpt-5.4").spec().hash
    with pytest.raises(NotFound, match="did you mean software"):
        load_graph("team:sofware")
    with pytest.raises(InvalidInput, match="agent"):
        load_graph("team:software@nonsense")
