"""What the engine decides of its own beside the runs: who goes next in a thread, and which lane is served."""
