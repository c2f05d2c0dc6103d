"""One chat at the gateway: routing, the response, and heartbeats while its backend is silent."""
