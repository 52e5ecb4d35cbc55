"""What a call means, as pure functions: how to pass the state in, how to read what comes back or goes wrong."""
