"""The router: answers every query by the cheapest tier that is good enough."""
