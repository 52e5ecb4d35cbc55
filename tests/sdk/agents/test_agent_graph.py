"""The same agent, as a node of a graph."""

from __future__ import annotations

from partsong.agents import Agent, RoleBasedAgent, RoleLibrary, ToolEnabledAgent
from partsong.agents.artefacts import Design, ProductRequirements
from partsong.contracts.graph import AgentNode
from partsong.tools import ToolRegistry
from partsong.workflow import WorkflowGraph


async def test_an_agent_object_is_a_node_with_its_instructions_tools_and_output() -> None:
    graph = WorkflowGraph("sums")
    graph.add_agent("count", ToolEnabledAgent(tool_registry=ToolRegistry(), allow=["calculator"]))
    graph.add_agent("say", Agent("scripted:echo"), prompt="{{count}}")
    graph.add_edge("count", "say")
    result = await graph.execute({"input": "What is 123 * 456?"})
    assert result.raise_for_status()["say"] == "The result is 56088."


async def test_roles_hand_artefacts_to_each_other_in_a_graph() -> None:
    graph = WorkflowGraph("team")
    graph.add_agent("prd", RoleBasedAgent(RoleLibrary.PRODUCT_MANAGER))
    graph.add_agent("design", RoleBasedAgent(RoleLibrary.ARCHITECT), prompt="{{prd}}")
    graph.add_edge("prd", "design")
    node = graph.compile().nodes["design"]
    assert isinstance(node, AgentNode)
    assert node.agent.instructions == RoleLibrary.ARCHITECT.prompt()
    result = (await graph.execute({"input": "Define login"})).raise_for_status()
    assert ProductRequirements.model_validate(result["prd"]).title == "Define login"
    assert isinstance(Design.model_validate(result["design"]), Design)
