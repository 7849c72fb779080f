"""What a request points to: allowed links and hosts, archives, stamps of files."""
