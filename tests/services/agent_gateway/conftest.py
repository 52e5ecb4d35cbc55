"""No key and no proxy of the machine's."""

from __future__ import annotations

from tests.support.vendors import no_vendor_settings

__all__ = ["no_vendor_settings"]
