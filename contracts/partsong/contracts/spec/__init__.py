"""The language as documents for other languages: JSON Schemas, and how they may grow."""
