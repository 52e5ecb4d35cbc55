"""The agent gateway: asks models for turns, streams what they say, and reports what they said."""
