"""Models: providers behind one port, and which of them answers a turn."""
