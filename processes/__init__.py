"""Classify objects on imagery with a trained model, as an OGC API - Processes service."""

__version__ = "0.3.0"
SOFTWARE = f"classify-objects {__version__}"
