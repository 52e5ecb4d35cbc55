"""What chunks mean, and what vendors understand: pure, without a socket or a clock."""
