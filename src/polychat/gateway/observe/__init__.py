"""What is written down of each request: the log, metrics, traces."""
