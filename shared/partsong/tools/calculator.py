"""Old place of what is in `partsong.tools.builtin.calculator` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.tools.builtin.calculator import *  # noqa: F403

_warn(
    "partsong.tools.calculator is partsong.tools.builtin.calculator now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
