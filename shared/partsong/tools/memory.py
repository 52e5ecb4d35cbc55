"""Old place of what is in `partsong.tools.builtin.memory` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.tools.builtin.memory import *  # noqa: F403

_warn(
    "partsong.tools.memory is partsong.tools.builtin.memory now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
