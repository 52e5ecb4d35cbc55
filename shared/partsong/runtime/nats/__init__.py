"""A nats-server of one's own, and clients of any: the binary, its version, its directory."""
