"""Kept-alive HTTP/1.1 connections on httptools: the fast path to API vendors and to servers of one's own."""
