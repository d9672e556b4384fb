"""Decisions of the router as pure functions: score, plan, balance, breaker, context."""
