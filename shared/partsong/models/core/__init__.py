"""The gateway's pure part: what chunks mean, without a socket or a clock."""
