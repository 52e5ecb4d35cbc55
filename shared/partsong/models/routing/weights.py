"""The fitted weights, written by `python -m tests.unit.models.routing.complexity.fit --write`; not edited by hand."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BASE", "LIMITS", "POINTS", "VERSION"]

VERSION = "1"
"""Goes up whenever a number changes: scores in old logs name theirs."""
BASE = 4.7
POINTS: Mapping[str, float] = {
    "length": 38.8,
    "code": 13.2,
    "math": 15.9,
    "reasoning": 108.8,
    "design": 24.1,
    "actions": 18.4,
    "steps": 19.7,
    "constraints": 5.4,
    "languages": 0.0,
    "domain": 5.0,
    "clauses": 34.7,
    "numbers": 0.0,
    "attachments": 18.3,
    "tools": 7.2,
    "schema": 0.9,
    "context": 2.6,
}
LIMITS = (25.0, 48.0, 75.0)
