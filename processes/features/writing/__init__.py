"""Results to files, a module per format. `formats.py` lists the formats."""
