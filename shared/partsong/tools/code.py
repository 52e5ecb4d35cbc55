"""Old place of what is in `partsong.tools.builtin.code` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.tools.builtin.code import *  # noqa: F403

_warn(
    "partsong.tools.code is partsong.tools.builtin.code now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
