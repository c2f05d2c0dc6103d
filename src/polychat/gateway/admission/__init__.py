"""What stands before a request: who may come in, and how much is taken at a time."""
