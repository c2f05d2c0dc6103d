"""How long a test waits for what must come: long, as a loaded machine starts a process in half a minute."""

PATIENCE = 60.0
"""Seconds after which what a test waits for does not come."""
