"""The players assembled in one process: the same fold and decide, no server."""
