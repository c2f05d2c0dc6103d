"""The processes that serve: one, or several behind one port, and the configuration they go by."""
