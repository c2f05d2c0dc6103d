"""Choices of words that several rooms share: the configuration, calls, policies of keys, wires. Each is written here alone."""

from __future__ import annotations

from typing import Literal, TypeAlias

OnLoss: TypeAlias = Literal["refuse", "warn", "report", "allow"]
"""What a call does about a field that the backend does not support."""
OnLossSetting: TypeAlias = Literal["refuse", "report", "allow"]
"""As ``OnLoss``, at the gateway, where nobody reads a warning."""
HostedTools: TypeAlias = Literal["drop", "refuse"]
"""What becomes of tools that another vendor would run itself."""
Unpriced: TypeAlias = Literal["refuse", "allow"]
"""What becomes of requests for a model without a price, where a budget in dollars applies."""
Priority: TypeAlias = Literal["high", "normal", "low"]
"""Which of the requests that wait for a target goes first."""
SitesEra: TypeAlias = Literal["1.9", "2.0", "2.4"]
"""The period whose behaviour a chat site shows, by versions of AI Engine, which changed its nonces twice."""
LogForm: TypeAlias = Literal["human", "json", "off"]
"""How the gateway writes its log."""
