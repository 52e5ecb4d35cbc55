"""The pure core: what the log's events make of an approval, and which decisions count."""
