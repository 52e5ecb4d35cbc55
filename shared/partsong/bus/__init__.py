"""The bus: pulling from queues, jobs, claims, dead letters, and FastStream under our rules."""
