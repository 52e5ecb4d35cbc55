"""Telemetry: spans of what is done, and where they go."""
