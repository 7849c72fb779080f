"""Finished results, kept so that forms of them are made and parts of them are found."""
