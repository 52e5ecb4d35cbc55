"""Old place of what is in `partsong.tools.builtin.fetch_page` now; it goes with 0.2."""

from warnings import warn as _warn

from partsong.tools.builtin.fetch_page import *  # noqa: F403

_warn(
    "partsong.tools.fetch_page is partsong.tools.builtin.fetch_page now; the old name goes with 0.2: see docs/renames.md",
    DeprecationWarning,
    stacklevel=2,
)
