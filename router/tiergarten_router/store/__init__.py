"""The one place that talks to Redis, and what it says when Redis does not answer."""
