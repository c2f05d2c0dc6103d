"""What several tests share: servers, clients, values. CONTRIBUTING.md lists the modules."""
