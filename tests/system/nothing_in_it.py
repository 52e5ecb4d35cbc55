"""A module without a function and without a tool."""

NUMBER = 3
