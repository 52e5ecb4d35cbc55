"""Approvals: an inbox projected from the log, shown and decided over HTTP and WebSocket."""
