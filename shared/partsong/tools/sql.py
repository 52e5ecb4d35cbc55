"""Old place of what is in `partsong.tools.builtin.sql` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.tools.builtin.sql import *  # noqa: F403

_warn(
    "partsong.tools.sql is partsong.tools.builtin.sql now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
