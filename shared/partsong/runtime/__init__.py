"""What every process stands on: clock, connection, streams, a nats-server of its own."""
