"""A graph in the DOT language, for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from partsong.cli.drawing import Arrow, Box, Drawing

__all__ = ["dot"]

_SHAPES = {
    "function": "box",
    "agent": "ellipse",
    "tool": "component",
    "approval": "hexagon",
    "subgraph": "folder",
    "map": "box3d",
    "wait": "cds",
    "transform": "parallelogram",
}
_LOOKS = {
    "done": ("#d6f5d6", "filled"),
    "running": ("#d6eaff", "filled"),
    "waiting": ("#fff3c4", "filled"),
    "failed": ("#ffd6d6", "filled"),
    "cancelled": ("#eeeeee", "filled,dashed"),
    "unfinished": ("#ffffff", "filled,dashed"),
}
_STYLES = {"always": "solid", "chosen": "solid", "goto": "dashed", "failure": "dotted"}


def dot(drawing: Drawing, name: str) -> str:
    """The digraph: labels stand on their edges, shapes tell the kinds of nodes apart, inner graphs are clusters.

    Where a run has been, boxes are coloured and the edges it took are bold.
    """
    lines = [
        f"digraph {_quoted(name)} {{",
        "  compound=true",
        '  node [fontname="sans-serif"]',
        '  edge [fontname="sans-serif", fontsize=10]',
        *_graph(drawing, "start", "stop", "  "),
        "}",
    ]
    return "\n".join(lines)


def _graph(drawing: Drawing, start: str, stop: str, margin: str) -> Iterator[str]:
    boxes = {box.id: box for box in drawing.boxes}
    yield f'{margin}{start} [shape=circle, label="", width=0.2, style=filled, fillcolor=black]'
    for box in drawing.boxes:
        yield from _box(box, margin)
    if drawing.ends:
        yield f'{margin}{stop} [shape=doublecircle, label="", width=0.15]'
    yield f"{margin}{start} -> {_joined(boxes, start, drawing.entry, {})}"
    for arrow in drawing.arrows:
        yield f"{margin}{_arrow(arrow, boxes, stop)}"


def _box(box: Box, margin: str) -> Iterator[str]:
    color, style = _LOOKS[box.look] if box.look is not None else ("", "")
    if box.inside is None:
        filled = {"style": style, "fillcolor": color} if color else {}
        shape = {"label": box.text, "shape": _SHAPES[box.kind], **filled}
        yield f"{margin}{box.id}{_attributes(shape)}"
        return
    yield f"{margin}subgraph cluster_{box.id} {{"
    yield f"{margin}  label={_quoted(box.text)}"
    if color:
        yield f"{margin}  style={_quoted(style)}"
        yield f"{margin}  fillcolor={_quoted(color)}"
    yield from _graph(box.inside, f"{box.id}_start", f"{box.id}_stop", f"{margin}  ")
    yield f"{margin}}}"


def _arrow(arrow: Arrow, boxes: Mapping[str, Box], stop: str) -> str:
    style = {"label": arrow.text} if arrow.text else {}
    if arrow.manner in {"goto", "failure"}:
        style["style"] = _STYLES[arrow.manner]
    if arrow.taken:
        style["penwidth"] = "2.5"
    source = boxes[arrow.source]
    return f"{_leaves(source)} -> {_joined(boxes, source.id, arrow.to or stop, style)}"


def _joined(boxes: Mapping[str, Box], source: str, to: str, style: dict[str, str]) -> str:
    """Where an arrow points, with its attributes: Graphviz joins nodes, and cuts the line where a cluster begins."""
    box = boxes.get(to)
    if source in boxes and boxes[source].inside is not None:
        style = {**style, "ltail": f"cluster_{source}"}
    if box is not None and box.inside is not None:
        style = {**style, "lhead": f"cluster_{to}"}
        to = f"{to}_start"
    return f"{to}{_attributes(style)}"


def _leaves(box: Box) -> str:
    """The node an arrow begins at."""
    while box.inside is not None:
        box = box.inside.boxes[-1]
    return box.id


def _attributes(values: Mapping[str, str]) -> str:
    if not values:
        return ""
    return f" [{', '.join(f'{key}={_quoted(value)}' for key, value in values.items())}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
