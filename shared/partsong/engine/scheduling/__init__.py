"""Scheduling: which nodes fire, where finished executions lead, and how runs end."""
