"""One chat at the gateway: routed, answered, and kept alive while its backend is silent."""
