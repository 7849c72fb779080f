"""Images: their sources, opening, chips as geometry, chips as pixels."""
