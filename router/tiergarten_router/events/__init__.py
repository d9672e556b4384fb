"""Events: what the system does, with replay and without silent holes."""
