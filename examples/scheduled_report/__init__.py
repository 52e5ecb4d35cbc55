"""A report at every tick of a schedule."""
