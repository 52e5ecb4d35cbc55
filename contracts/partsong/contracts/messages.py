"""Old place of what is in `partsong.contracts.talk.messages` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.contracts.talk.messages import *  # noqa: F403

_warn(
    "partsong.contracts.messages is partsong.contracts.talk.messages now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
