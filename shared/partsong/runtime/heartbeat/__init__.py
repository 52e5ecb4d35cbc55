"""Heartbeats: who works here, on what, and who has fallen silent."""
