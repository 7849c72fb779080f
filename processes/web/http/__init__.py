"""HTTP itself: connections in an event loop, and threads for complete requests."""
