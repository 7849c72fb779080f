"""Images that services give in parts: each is a grid of tiles at a cell size. A service is a module here."""
