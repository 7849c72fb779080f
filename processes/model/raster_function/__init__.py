"""The process that a raster function runs in: shut in, asked through pipes, and ended with all its children."""
