"""Snapshots: folds of a run's log that were kept so that the next fold need not start at its beginning."""
