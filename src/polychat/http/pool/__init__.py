"""Kept-alive HTTP/1.1 connections on httptools, for API vendors and one's own servers."""
