"""The processes that serve: one, or several on one port, and their configuration."""
