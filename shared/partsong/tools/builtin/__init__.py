"""Built-in tools: what an agent can be given without writing a tool."""
