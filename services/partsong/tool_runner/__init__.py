"""The tool-runner: calls a user's functions and tools, and reports how each call ended."""
