"""Routing: how hard a task is, and which model is asked."""
