"""Old place of what is in `partsong.contracts.talk.chunks` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.contracts.talk.chunks import *  # noqa: F403

_warn(
    "partsong.contracts.chunks is partsong.contracts.talk.chunks now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
