"""The doors: what clients may ask, bounded and parsed, and how they are answered."""
