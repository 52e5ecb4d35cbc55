"""The graph engine: hears what happened, decides what happens next, commits it to the log."""
