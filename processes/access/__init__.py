"""Who uses the service, and what they may do."""
