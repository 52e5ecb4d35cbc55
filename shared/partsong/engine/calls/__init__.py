"""Calls: when one is made, made again, or given up, and who must agree to it."""
