"""Answers that were given before: what they are found by, how they are stored, and for how long."""
