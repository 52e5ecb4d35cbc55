"""Work: what an open call asks of a worker, computed from the state and never stored."""
