"""How long a test waits for what must come."""

PATIENCE = 60.0
"""Seconds after which it does not come: many, as a loaded machine takes half of them to start a process."""
