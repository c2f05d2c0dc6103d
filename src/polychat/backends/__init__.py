"""Backends as objects, made from a configuration, an environment and the providers' classes. ``Registry`` makes them."""
