"""Backends as objects: what a configuration, an environment and the providers' classes amount to. ``Registry`` makes them."""
