"""How a builder connects nodes: edges of every kind, and loops made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import END, START, Edge
from partsong.workflow.draft import Draft

__all__ = ["Edges"]


class Edges(Draft):
    """Methods that add edges. Nodes may be added before or after; whether they exist is asked at the end."""

    def add_edge(self, source: str, target: str, *, on: str | None = None) -> Self:
        """From source to target: always, or for one outcome label.

        From `START` it sets the entry, to `END` the path ends.
        """
        if source == START:
            if on is not None:
                raise InvalidInput(
                    "graph.start_label",
                    f"the edge START → {target} is for {on!r}, but nothing has an outcome before the start",
                    where="entry",
                )
            return self.set_entry(target)
        self._edges.append(Edge(source=source, to=target, on=on))
        return self

    def add_conditional_edge(self, source: str, routes: Mapping[str, str]) -> Self:
        """From source to the target of its outcome label: `{label: target}`.

        A plain return has the outcome `success`, an error that no retry cured the outcome `failure`.
        """
        if not routes:
            raise _no_routes("conditional edge", source)
        self._edges.extend(
            Edge(source=source, to=target, on=label) for label, target in routes.items()
        )
        return self

    def add_condition(
        self, source: str, conditions: Iterable[tuple[str, str]], otherwise: str | None = None
    ) -> Self:
        """From source to the target of the first condition that is true, else to `otherwise`: `[(cel, target), …]`.

        Conditions are CEL over `state`, like `state.amount > 100`. That none is true is an error of the run, unless
        there is an `otherwise`.
        """
        edges = [Edge(source=source, to=target, when=when) for when, target in conditions]
        if not edges:
            raise _no_routes("condition", source)
        self._edges += edges
        if otherwise is not None:
            self._edges.append(Edge(source=source, to=otherwise, otherwise=True))
        return self

    def add_goto(self, source: str, targets: Iterable[str]) -> Self:
        """Declares where source may go to by returning `Goto(target)`, beside its plain edges."""
        edges = [Edge(source=source, to=target, goto=True) for target in targets]
        if not edges:
            raise _no_routes("goto", source)
        self._edges += edges
        return self

    def on_error(self, source: str, target: str) -> Self:
        """From source to target if it fails and no retry cures it; target sees the error as `state["error"]`."""
        return self.add_edge(source, target, on="failure")

    def add_parallel(self, source: str, targets: Iterable[str], join: str | None = None) -> Self:
        """From source to all targets at once, and from each of them to `join`, if given."""
        for target in targets:
            self.add_edge(source, target)
            if join is not None:
                self.add_edge(target, join)
        return self

    def add_loop(
        self,
        first: str,
        last: str | None = None,
        *,
        while_: str | None = None,
        until: str | None = None,
        max_visits: int | None = None,
        then: str = END,
    ) -> Self:
        """From `last` (default: `first`) back to `first` while, or until, a condition is true; then on to `then`.

        The body from `first` to `last` runs before the condition, CEL over `state`, is asked. `max_visits` is how often
        it may run; one more ends the run with `limit_exceeded`.

        Raises:
            InvalidInput: `graph.loop`, neither or both conditions.
        """
        source = last if last is not None else first
        if max_visits is not None:
            self._visits[first] = max_visits
        match while_, until:
            case str(), None:
                return self.add_condition(source, [(while_, first)], otherwise=then)
            case None, str():
                return self.add_condition(source, [(until, then)], otherwise=first)
            case _:
                given = "both" if while_ is not None else "none"
                raise InvalidInput(
                    "graph.loop",
                    f"a loop has one condition, `while_` or `until`; given: {given}",
                    where=f"nodes.{source}",
                )

    def set_entry(self, name: str) -> Self:
        """Where runs begin; without it, at the node added first."""
        if self._entry is not None and self._entry != name:
            raise InvalidInput(
                "graph.two_entries",
                f"the entry is {self._entry} already, now {name} is to be it",
                where="entry",
                fix="begin with one node that leads to both",
            )
        self._entry = name
        return self


def _no_routes(what: str, source: str) -> InvalidInput:
    return InvalidInput(
        "graph.no_routes", f"the {what} from {source} leads nowhere", where=f"nodes.{source}"
    )
