"""The vendors: one module each, and the only places that know a vendor's SDK."""
