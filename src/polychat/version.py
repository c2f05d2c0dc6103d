"""The version of polychat."""

__version__ = "0.1.0"
