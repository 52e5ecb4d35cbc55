"""Answers to what others wrote and we evaluate: a process of its own, with a limit of time and memory."""
