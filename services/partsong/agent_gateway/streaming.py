"""Old place of what is in `partsong.models` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.models.streaming import *  # noqa: F403

_warn(
    "partsong.agent_gateway.streaming is partsong.models now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
