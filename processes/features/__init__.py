"""Feature layers: reading and writing, held as Arrow."""
