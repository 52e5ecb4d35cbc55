"""Start here: two agents read a changelog side by side, a person approves, and the engine survives kill -9."""
