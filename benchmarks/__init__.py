"""Measurements side by side, each a ratio of two things run in turn on the same machine."""
