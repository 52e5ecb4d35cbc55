"""Roles: who an agent is, what it hands over, what it may do, and how one writes a role of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from partsong.agents import Agent, AgentRole, RoleBasedAgent, RoleLibrary
from partsong.agents.artefacts import (
    ARTEFACTS,
    ChangeSet,
    DeploymentPlan,
    Design,
    ProductRequirements,
    QualityReport,
    artefact,
)
from partsong.contracts.errors import InvalidInput, NotFound
from partsong.contracts.events import ApprovalRequested
from partsong.contracts.graph import AgentNode
from partsong.contracts.talk.messages import ToolMessage
from partsong.testing import ScriptedModel, ToolCall
from partsong.testing.fake_llm import FakeLLM, Finish, Say
from partsong.tools import ToolRegistry, tool
from partsong.tools.tool import SideEffect
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.agents import address, call, saying, steps

PROMPTS = Path(__file__).parent / "prompts"
HANDED_OVER: dict[str, type[BaseModel]] = {
    "product_manager": ProductRequirements,
    "architect": Design,
    "developer": ChangeSet,
    "qa_engineer": QualityReport,
    "devops_engineer": DeploymentPlan,
}
LOGIN = ProductRequirements(
    title="Login",
    problem="Anybody can see everybody's orders.",
    users=("customers",),
    goals=("only owners see their orders",),
    non_goals=("social login",),
    stories=(),
    constraints=(),
    metrics=("no order is shown to another customer",),
    open_questions=("How long does a session last? We assume a day.",),
)
REVIEWER = """\
name: Security Reviewer
goal: Find what an attacker would find first.
skills: [reading code, thinking like a thief]
constraints:
  - Name the line.
output:
  type: object
  properties: {safe: {type: boolean}}
  required: [safe]
  additionalProperties: false
toolset: [calculator]
may: none
watches: [change_set]
"""


@tool(side_effect="write")
def deploy(version: str) -> str:
    """Deploy a version."""
    return f"deployed {version}"


@pytest.mark.parametrize("name", RoleLibrary.roles())
def test_a_prompt_changes_only_on_purpose(name: str) -> None:
    """Whoever changes a prompt on purpose copies the new text into the file."""
    kept = (PROMPTS / f"{name}.txt").read_text("utf-8")
    assert RoleLibrary.get(name).prompt() + "\n" == kept


def test_every_role_has_its_artefact_and_somebody_who_takes_it_up() -> None:
    for name, model in HANDED_OVER.items():
        role = RoleLibrary.get(name)
        assert role.output_type is model
        assert isinstance(role.output, str)
        if model is not DeploymentPlan:
            assert RoleLibrary.watching(role.output), f"nobody watches {role.output}"
    assert [role.name for role in RoleLibrary.watching("test_report")] == [
        "Developer",
        "DevOps Engineer",
    ]


@pytest.mark.parametrize("name", ARTEFACTS)
def test_all_providers_can_keep_a_model_to_an_artefact(name: str) -> None:
    """`strict` demands that every object requires all its fields and is closed to others."""
    objects = [artefact(name).model_json_schema()]
    objects += objects[0].get("$defs", {}).values()
    for schema in objects:
        if schema.get("type") == "object":
            assert set(schema["required"]) == set(schema["properties"])
            assert schema["additionalProperties"] is False


async def test_a_role_needs_only_a_key(llm: FakeLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    async with FakeLLM(saying(LOGIN.model_dump_json())) as llm:
        monkeypatch.setenv("OPENAI_BASE_URL", address(llm, "openai"))
        pm_agent = RoleBasedAgent(role=RoleLibrary.PRODUCT_MANAGER, api_key="sk-test")
        result = await pm_agent.call("Define requirements for login feature")
    assert result.output == LOGIN
    assert json.loads(result.text)["title"] == "Login"
    (asked,) = llm.calls
    assert asked.ask.system == RoleLibrary.PRODUCT_MANAGER.prompt()
    assert asked.ask.prompt == "Define requirements for login feature"
    assert '"non_goals"' in json.dumps(dict(asked.body))


@pytest.mark.parametrize("name", RoleLibrary.roles())
async def test_without_a_key_every_role_hands_over_its_artefact(name: str) -> None:
    agent = RoleBasedAgent(RoleLibrary.get(name))
    result = await agent.call("Define requirements for login feature")
    assert isinstance(result.output, HANDED_OVER[name])
    assert agent.spec().output_schema == HANDED_OVER[name].model_json_schema()
    assert agent.name == name


@pytest.mark.parametrize("name", RoleLibrary.roles())
def test_a_role_is_the_same_agent_with_and_without_an_object_around_it(name: str) -> None:
    role, model = RoleLibrary.get(name), "openai:gpt-5.4"
    assert role.spec(model) == RoleBasedAgent(role, model, api_key="sk-test").spec()
    told = role.spec(model, instructions="Be brief.").instructions
    assert told == f"{role.prompt()}\n\nBe brief."
    node = WorkflowGraph("alone").add_agent("a", role).compile().nodes["a"]
    assert isinstance(node, AgentNode)
    assert node.agent == role.spec()
    with pytest.raises(InvalidInput, match="nonsense"):
        role.spec("nonsense")


async def test_a_role_of_ones_own_works_from_yaml_text_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "reviewer.yaml"
    path.write_text(REVIEWER, "utf-8")
    role = AgentRole.from_yaml(REVIEWER)
    assert role == AgentRole.from_yaml(path) == AgentRole.from_yaml(str(path))
    assert role.hash == AgentRole.from_yaml(path).hash
    assert role.hash != role.model_copy(update={"goal": "Relax."}).hash
    agent = RoleBasedAgent(role, instructions="Answer in English.")
    assert agent.name == "security_reviewer"
    assert agent.spec().tools == ("calculator",)
    assert (await agent.call("Is it safe?")).output == {"safe": True}
    assert agent.spec().instructions == (
        "You are the Security Reviewer. Find what an attacker would find first.\n\n"
        "You are good at:\n- reading code\n- thinking like a thief\n\n"
        "Rules you keep:\n- Name the line.\n\n"
        "Answer in English."
    )


@pytest.mark.parametrize(
    ("text", "code", "message", "where"),
    [
        ("name: A\ngoal: [", "role.bad_yaml", "expected the node", "the text, line 2"),
        ("name: A\nname: B\ngoal: C", "role.bad_yaml", "'name' is there twice", "line 2"),
        ("- name: A\n- goal: B", "role.malformed", "this is a list", "the text"),
        ("name: A\ngoal: B\ntols: [x]", "role.malformed", "no field 'tols'", "tols"),
        ("name: A\n", "role.malformed", "Field required", "the text: goal"),
        (
            "name: A\ngoal: B\nmay: much",
            "role.malformed",
            "'none', 'read'",
            "the text, line 3: may",
        ),
        ("name: A\ngoal: B\noutput: pdr", "role.malformed", "'pdr' is no artefact", "output"),
        (
            "name: A\ngoal: B\nskills: many",
            "role.malformed",
            "valid tuple",
            "the text, line 3: skills",
        ),
        ("name: A\ngoal: !!python/name:os.system ''", "role.bad_yaml", "python/name", "line 2"),
    ],
)
def test_what_is_wrong_with_a_role_is_said_with_its_place(
    text: str, code: str, message: str, where: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        AgentRole.from_yaml(text)
    problem = refused.value.problem
    assert problem.code == code
    assert message in problem.message
    assert where in (problem.where or "")


def test_all_that_is_wrong_with_a_role_is_said_at_once_each_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "role.yaml"
    path.write_text("name: A\ntols: [x]\n\nmay: much\nskills: many\n")
    with pytest.raises(InvalidInput) as refused:
        AgentRole.from_yaml(path)
    assert {problem.where for problem in refused.value.problems} == {
        f"{path}, line 2: tols",
        f"{path}: goal",
        f"{path}, line 4: may",
        f"{path}, line 5: skills",
    }


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nobody\.yaml"):
        AgentRole.from_yaml(tmp_path / "nobody.yaml")
    with pytest.raises(NotFound, match="no role 'boss'"):
        RoleLibrary.get("boss")


def test_a_role_cannot_have_tools_beyond_what_it_may_do() -> None:
    role = AgentRole(name="Reader", goal="Read.", toolset=("deploy",), may="read")
    with pytest.raises(InvalidInput, match="write, allowed is up to read"):
        RoleBasedAgent(role, tool_registry=ToolRegistry([deploy]))
    with pytest.raises(NotFound, match="deploy"):
        RoleBasedAgent(role)


@pytest.mark.parametrize(
    ("may", "said"), [("read", "tool.forbidden"), ("write", "approval.rejected")]
)
async def test_in_a_graph_a_role_may_no_more_than_it_says_and_asks_from_where_it_says(
    may: SideEffect, said: str
) -> None:
    asked: list[str] = []

    async def no(request: ApprovalRequested) -> bool:
        asked.append(request.title)
        return False

    role = AgentRole(name="Releaser", goal="Release.", toolset=("deploy",), may=may)
    graph = WorkflowGraph("release", tools=[deploy]).add_agent("go", role.spec("test:model"))
    with ScriptedModel(ToolCall("deploy", {"version": "2"}), "No.") as model:
        result = await graph.execute({"input": "Release 2"}, approve=no)
    assert result.raise_for_status()["go"] == "No."
    assert model.asked[1].messages[-1].text.startswith(said)
    assert asked == ([] if may == "read" else ["Call the tool deploy?"])


async def test_a_role_has_only_its_own_tools_and_asks_before_it_writes() -> None:
    role = AgentRole(name="Releaser", goal="Release.", toolset=("deploy",), may="write")
    made = (*call("deploy", '{"version": "2"}')[:1], *call("calculator", "{}", "call_2"))
    async with FakeLLM(steps(made, (Say("Waiting."), Finish()))) as llm:
        agent = RoleBasedAgent(
            role,
            "openai-chat:any",
            base_url=address(llm, "openai"),
            tool_registry=ToolRegistry([deploy]),
        )
        result = await agent.call("Release 2")
    said = [str(m.content) for m in result.messages if isinstance(m, ToolMessage)]
    assert said[0].startswith("tool.needs_approval")
    assert said[1] == "tool.unknown: there is no tool 'calculator'; there are: deploy"
    assert [offer.name for offer in llm.calls[0].ask.tools] == ["deploy"]


@pytest.mark.parametrize("field", ["goal", "backstory", "constraints", "skills"])
def test_a_role_with_a_variable_is_refused_and_names_it(field: str) -> None:
    said: object = (
        "Write for {{ audience }}." if field in {"goal", "backstory"} else ["Mind {{ audience }}."]
    )
    with pytest.raises(InvalidInput, match=r"\{\{ audience \}\}") as refused:
        AgentRole(**{"name": "Writer", "goal": "Write.", field: said})
    assert refused.value.problem.where == field


def test_instructions_with_a_variable_are_refused_and_name_it() -> None:
    with pytest.raises(InvalidInput, match=r"\{\{topic\}\}") as refused:
        Agent("scripted:echo", instructions="Write about {{topic}}.")
    assert refused.value.problem.code == "agent.unknown_variable"
    spec = AgentSpec(model="scripted:echo", instructions="Write about {{topic}}.")
    with pytest.raises(InvalidInput, match=r"\{\{topic\}\}") as refused:
        WorkflowGraph("g").add_agent("a", spec).compile()
    assert refused.value.problem.where == "nodes.a.agent.instructions"
    Agent("scripted:echo", instructions="Braces {like these} and {{ 1 + 1 }} are no variables.")
