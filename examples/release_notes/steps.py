"""The graph's own Python: plain functions, state in, update out. A tool-runner loads this module."""

from __future__ import annotations

import os
import re
from pathlib import Path

from partsong.workflow import AgentSpec, NodeContext, WorkflowGraph

Json = dict[str, object]


async def split(state: Json, context: NodeContext) -> Json:
    """Cut the text into sections at its headings, and keep what the agents can read at once."""
    text = str(state["text"])
    sections = [part.strip() for part in re.split(r"(?m)^(?=#+ )", text) if part.strip()]
    context.emit(f"{len(sections)} sections, {len(text.split())} words\n")
    return {"sections": len(sections), "words": len(text.split()), "excerpt": text[:12_000]}


async def write(state: Json) -> Json:
    """Write the approved notes; a temporary name first, so that a repeated call leaves one whole file."""
    path = Path(str(state["result"]))
    body = (
        f"# Release notes\n\n{state['summary']}\n\n## Risks\n\n{state['risks']}\n\n"
        f"_{state['sections']} sections, about {state['minutes']} minutes to read._\n"
    )
    part = path.with_suffix(".part")
    part.write_text(body, encoding="utf-8")
    part.replace(path)
    return {"written": str(path), "bytes": len(body.encode())}


def model(part: str) -> str:
    """The model that plays a part: a real one if a key or an address is set, else the scripted provider."""
    if os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_BASE_URL"):
        return f"anthropic:{os.environ.get('PARTSONG_DEMO_MODEL', 'claude-sonnet-5-5')}"
    if os.environ.get("OPENAI_API_KEY"):
        return f"openai:{os.environ.get('PARTSONG_DEMO_MODEL', 'gpt-5.4')}"
    if os.environ.get("OPENAI_BASE_URL"):
        return f"openai-chat:{os.environ.get('PARTSONG_DEMO_MODEL', 'default')}"
    if os.environ.get("GOOGLE_API_KEY") or os.environ.get("GEMINI_API_KEY"):
        return f"google:{os.environ.get('PARTSONG_DEMO_MODEL', 'gemini-3.8-flash')}"
    return f"scripted:{part}"


def release_notes() -> WorkflowGraph:
    """split → (summary ∥ risks) → reading time → approval → file."""
    graph = WorkflowGraph("release_notes")
    graph.add_node("split", split)
    graph.add_agent(
        "summary",
        AgentSpec(
            model=model("summary"),
            instructions="Summarise what changed, for users, in five sentences.",
        ),
        prompt="{{excerpt}}",
    )
    graph.add_agent(
        "risks",
        AgentSpec(
            model=model("risks"), instructions="Name the risks of this release, one line each."
        ),
        prompt="{{excerpt}}",
    )
    graph.add_tool("minutes", "calculator", args={"expression": "round({{words}} / 200) + 1"})
    graph.add_approval(
        "publish", title="Publish the notes on {{sections}} sections?", show=("summary", "risks")
    )
    graph.add_node("write", write)
    graph.add_parallel("split", ["summary", "risks"], join="minutes")
    graph.add_edge("minutes", "publish")
    return graph.add_conditional_edge("publish", {"approved": "write", "rejected": "END"})
