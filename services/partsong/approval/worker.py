"""Questions over NATS: what HTTP clients can list, programs on the bus can list too."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from partsong.approval.core.approval import Position, Status
from partsong.approval.desk import Desk
from partsong.approval.views import page_of
from partsong.bus.faststream import Command
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph.validate import problem_of

__all__ = ["Question", "Questions"]


class Question(BaseModel):
    """`partsong.query.approval.list`: which approvals; an empty body asks for the newest ones."""

    model_config = ConfigDict(frozen=True, extra="allow")

    status: Status | None = None
    run_id: str | None = None
    cursor: str | None = None
    limit: int = 50


class Questions:
    """Answers them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def list(self, command: Command) -> dict[str, JsonValue]:
        """The same page as `GET /api/approvals`.

        Raises:
            InvalidInput: `request.malformed` naming the field, or what the desk says.
        """
        try:
            asked = Question.model_validate_json(command.body or b"{}")
        except ValidationError as error:
            raise InvalidInput.of(problem_of(error, "request.malformed")) from None
        before = Position.parse(asked.cursor, "cursor") if asked.cursor is not None else None
        listed = await self._desk.list(
            status=asked.status, run_id=asked.run_id, before=before, limit=asked.limit
        )
        return page_of(listed).model_dump(mode="json")
