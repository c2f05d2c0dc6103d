"""HTTP/1 for the gateway: connections, requests, responses, listening, and requests that are refused before the application."""
