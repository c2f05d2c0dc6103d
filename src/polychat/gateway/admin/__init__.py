"""``/admin``: what operators look at and change in a running gateway."""
