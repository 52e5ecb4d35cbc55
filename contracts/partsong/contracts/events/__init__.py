"""Every event the log can hold: what it says, and which service may write it."""
