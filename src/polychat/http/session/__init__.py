"""Requests to chat sites on aiohttp: cookies, proxies, redirects, and a deadline for each wait."""
