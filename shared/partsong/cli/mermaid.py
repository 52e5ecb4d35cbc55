"""A graph as a Mermaid flowchart, for documents and pull requests."""

from __future__ import annotations

from collections.abc import Iterator

from partsong.cli.drawing import Arrow, Box, Drawing

__all__ = ["mermaid"]

_SHAPES = {
    "function": ("[", "]"),
    "agent": ("([", "])"),
    "tool": ("[[", "]]"),
    "approval": ("{{", "}}"),
    "subgraph": ("[/", "/]"),
    "map": ("[/", "\\]"),
    "wait": (">", "]"),
    "transform": ("(", ")"),
}
_LOOKS = {
    "done": "fill:#d6f5d6,stroke:#2e7d32,color:#000",
    "running": "fill:#d6eaff,stroke:#1565c0,color:#000",
    "waiting": "fill:#fff3c4,stroke:#b28704,color:#000",
    "failed": "fill:#ffd6d6,stroke:#c62828,color:#000",
    "cancelled": "fill:#eeeeee,stroke:#757575,color:#555,stroke-dasharray:4",
    "unfinished": "fill:#ffffff,stroke:#757575,color:#000,stroke-dasharray:4",
}
_ESCAPES = str.maketrans(
    {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "|": "#124;", "&": "#amp;", "\n": " "}
)


def mermaid(drawing: Drawing) -> str:
    """The flowchart: labels stand on their edges, shapes tell the kinds of nodes apart.

    Where a run has been, boxes are coloured and the edges it took are thick.
    """
    lines = ["flowchart TD", *_graph(drawing, "start", "stop", "  ")]
    looks: dict[str, list[str]] = {}
    for box in drawing.all_boxes():
        if box.look is not None:
            looks.setdefault(box.look, []).append(box.id)
    for look, style in _LOOKS.items():
        if look in looks:
            lines += [f"  classDef {look} {style}", f"  class {','.join(looks[look])} {look}"]
    return "\n".join(lines)


def _graph(drawing: Drawing, start: str, stop: str, margin: str) -> Iterator[str]:
    yield f"{margin}{start}(({'start' if start == 'start' else ' '}))"
    for box in drawing.boxes:
        yield from _box(box, margin)
    if drawing.ends:
        yield f"{margin}{stop}(({'end' if stop == 'stop' else ' '}))"
    yield f"{margin}{start} --> {drawing.entry}"
    for arrow in drawing.arrows:
        yield f"{margin}{_arrow(arrow, stop)}"


def _box(box: Box, margin: str) -> Iterator[str]:
    if box.inside is None:
        left, right = _SHAPES[box.kind]
        yield f"{margin}{box.id}{left}{_quoted(box.text)}{right}"
        return
    yield f"{margin}subgraph {box.id}[{_quoted(box.text)}]"
    yield from _graph(box.inside, f"{box.id}_start", f"{box.id}_stop", f"{margin}  ")
    yield f"{margin}end"


def _arrow(arrow: Arrow, stop: str) -> str:
    dotted = arrow.manner in {"goto", "failure"}
    line = "==>" if arrow.taken else "-.->" if dotted else "-->"
    label = f"|{_quoted(arrow.text)}|" if arrow.text else ""
    return f"{arrow.source} {line}{label} {arrow.to or stop}"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
