"""What docker/verify does: images are built and tried without an engine of containers."""
