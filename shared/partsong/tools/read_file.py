"""Old place of what is in `partsong.tools.builtin.read_file` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.tools.builtin.read_file import *  # noqa: F403

_warn(
    "partsong.tools.read_file is partsong.tools.builtin.read_file now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
