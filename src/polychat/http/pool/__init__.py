"""Kept-alive HTTP/1.1 connections on httptools: the way to API vendors and to servers of one's own."""
