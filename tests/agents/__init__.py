"""Agents' own programs against a gateway: opt-in, by ``make test-agents``, which fetches them with npm."""
