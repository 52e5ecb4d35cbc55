"""A plan that a person edits before it is carried out."""
