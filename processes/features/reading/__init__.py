"""Feature layers from files and services."""
