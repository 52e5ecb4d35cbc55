"""What travels between processes: subjects, headers, requests, work, and what a log says of itself."""
