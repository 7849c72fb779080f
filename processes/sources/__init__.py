"""What a request points to: links and hosts that are allowed, archives, and stamps of files."""
