"""What a run's events amount to: the fold, and what is read from a folded state."""
