"""HTTP/1 for the gateway: connections, requests, answers, where it listens, what is refused before any application."""
