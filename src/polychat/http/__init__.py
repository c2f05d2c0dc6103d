"""Bytes to and from other machines, without knowledge of chats: a pool for APIs, sessions for chat sites, a server for the
gateway.
"""
