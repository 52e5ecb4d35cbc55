"""Web: what every service with an HTTP API shares."""
