"""The engine: fold and decide over a run's log, and a driver of it in one process."""
