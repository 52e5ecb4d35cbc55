"""Old places of what is in `partsong.models` now."""
