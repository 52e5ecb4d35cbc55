"""A team with a plan: a model writes it, a person approves or edits it, its tasks run by dependency.

plan → check → sort ⟲ [→ approve → check …] → ready ⇄ work → summary
        └────────┴─▶ replan → check
"""

from __future__ import annotations

from collections.abc import Mapping

from partsong.teams.members import Casting, Member, Player, about, check_names, player_of
from partsong.teams.plan import CHECK, CYCLE, READY, SORT, plan_schema
from partsong.workflow import WorkflowGraph

__all__ = ["planner"]

_PLANNER = (
    "You plan work for others. Break the goal down into the fewest tasks that reach it. A task says all that its doer "
    "needs to know; of the other tasks, the doer sees only the results of those that it depends on. Let tasks depend on "
    "each other only where one needs the other's result: what does not depend on anything is done side by side.\n\n"
    "The doers:\n{doers}"
)
_AGAIN = (
    "Goal:\n{{goal}}\n\nYour plan:\n{{plan}}\n\n"
    "It cannot be carried out: {{problem}}. Give the whole plan again, mended."
)
_TASK = (
    "{{item.task}}\n\nThis is part of a larger goal: {{goal}}\n\n"
    "Results of earlier tasks that you build on:\n{{item.needs}}"
)
_SUMMARY = "Goal:\n{{goal}}\n\nWhat was done for it:\n{{done}}\n\nSum up for whoever set the goal."
_SORTED = "state.sorted.size() == state.plan.tasks.size()"
_OWN = (
    "begin", "plan", "replan", "check", "sort", "cycle", "approve", "accepted", "ready", "work", "summary", "route",
    "report", "item", "index", "goal", "result", "outcome",
)  # fmt: skip


def planner(
    leader: Player,
    workers: Mapping[str, Player | Member],
    *,
    approve: bool = True,
    max_concurrency: int = 4,
    max_replans: int = 3,
    model: str = "",
    name: str = "planner",
) -> WorkflowGraph:
    """The leader writes a `plan` for `goal`; its tasks are `done` by the workers, and the leader gives the `summary`.

    A plan with unknown dependencies or tasks that wait for each other goes back to the leader, `max_replans` times at
    most; then the run ends with `limit_exceeded`. Unless `approve` is False a person approves it, and may edit it: an
    edit that cannot be carried out is shown again with the reason. Tasks run in waves, each of all tasks whose
    dependencies are done, `max_concurrency` at a time. A task that fails ends the run when the others of its wave are
    done; a retry of the run does only what is left.

    Raises:
        InvalidInput: `team.too_small`, `team.reserved_name`, `team.no_about`, `team.not_an_agent`, `agent.malformed`.
    """
    check_names(workers, 1, _OWN)
    casting = Casting(model)
    schema = plan_schema(workers)
    doers = "\n".join(f"- {who}: {about(who, worker)}" for who, worker in workers.items())
    plans = casting.part(
        _as_text(casting, leader), told=_PLANNER.format(doers=doers), schema=schema
    )
    graph = WorkflowGraph(name, reducers={"done": "append"})
    graph.add_transform("begin", {"accepted": "false", "problem": '""', "done": "[]"})
    graph.add_agent("plan", plans, prompt="{{goal}}").add_edge("begin", "plan")
    graph.add_agent("replan", plans, prompt=_AGAIN, output="plan", max_visits=max_replans)
    graph.add_transform("check", CHECK).add_transform("sort", SORT).add_transform("cycle", CYCLE)
    graph.add_edge("plan", "check").add_edge("replan", "check")
    if approve:
        graph.add_approval(
            "approve",
            title="Carry out this plan?",
            detail="{{goal}}\n\n{{problem}}",
            editable="plan",
            edit_schema=schema,
        )
        graph.add_transform("accepted", {"accepted": "true"})
        graph.add_edge("approve", "accepted", on="approved").add_edge("accepted", "check")
    _check(graph, "approve" if approve else "ready", "approve" if approve else "replan")
    graph.add_transform("ready", READY)
    work = _work(casting, workers)
    graph.add_map(
        "work", work, over="wave", into="done", collect="outcome", inputs={"goal": "{{goal}}"},
        max_concurrency=max_concurrency, on_item_error="continue",
    )  # fmt: skip
    graph.add_agent("summary", casting.part(leader, text=True), prompt=_SUMMARY)
    graph.add_condition("ready", [("state.wave.size() > 0", "work")], otherwise="summary")
    return graph.add_edge("work", "ready")


def _as_text(casting: Casting, leader: Player) -> Player:
    """The leader without a schema of its own: plans have theirs."""
    return casting.part(leader, text=True)


def _check(graph: WorkflowGraph, sound: str, edited: str) -> None:
    """Where plans go from the check: on to `sound` or, once accepted, to the work; if unsound, to who can mend them."""
    unsound = [("state.accepted", edited)]
    graph.add_condition("check", [('state.problem == ""', "sort"), *unsound], otherwise="replan")
    graph.add_condition("cycle", unsound, otherwise="replan")
    graph.add_condition(
        "sort",
        [
            (f"{_SORTED} && state.accepted", "ready"),
            (_SORTED, sound),
            ("state.sorted.size() > state.sorted_before", "sort"),
        ],
        otherwise="cycle",
    )


def _work(casting: Casting, workers: Mapping[str, Player | Member]) -> WorkflowGraph:
    """What is done with one task: its doer does it, and the outcome says whose it is."""
    graph = WorkflowGraph("task").add_transform("route", {"doer": "state.item.doer"})
    for who, worker in workers.items():
        agent = casting.part(player_of(who, worker))
        graph.add_agent(who, agent, prompt=_TASK, output="result").add_edge(who, "report")
    graph.add_condition("route", [(f'state.doer == "{who}"', who) for who in workers])
    outcome = (
        '{"id": state.item.id, "doer": state.doer, "task": state.item.task, "result": state.result}'
    )
    return graph.add_transform("report", {"outcome": outcome})
