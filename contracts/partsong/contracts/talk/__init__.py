"""What engine, models and plugins say to each other: messages, chunks, hooks, and which model was chosen."""
