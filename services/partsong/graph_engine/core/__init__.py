"""The decider: pure functions from a run's state to what happens next."""
