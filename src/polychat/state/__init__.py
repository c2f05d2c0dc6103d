"""What is kept from one request to another."""
