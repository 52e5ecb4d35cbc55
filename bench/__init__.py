"""Measurements of the quality bars: `python -m bench`."""
