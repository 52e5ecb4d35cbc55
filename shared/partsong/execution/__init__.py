"""Execution: calls of functions, tools and plugins in this process."""
