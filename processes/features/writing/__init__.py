"""Classified layers to files, one module per format."""
