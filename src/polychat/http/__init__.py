"""Bytes to and from other machines, nothing about chats: a pool for APIs, sessions for chat sites, a server for the gateway."""
