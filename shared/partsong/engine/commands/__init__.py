"""Commands: what requests, signals and timers that fire mean for a run."""
