"""Tests of ``polychat chat``."""
