"""Examples; each runs with `python -m examples.NAME`. Start with release_notes."""
