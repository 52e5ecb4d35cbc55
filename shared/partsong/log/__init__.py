"""The log: one port, kept in memory, in a file, or in JetStream."""
