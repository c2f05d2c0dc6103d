"""Checks before a request is served: who may send requests, and how many at a time."""
