"""Conversion of other programs' files."""
