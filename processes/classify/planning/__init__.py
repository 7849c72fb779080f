"""Which chip each object gets: images, features and model put together, as geometry, before any pixel is read."""
