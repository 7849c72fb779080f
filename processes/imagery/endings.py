"""The endings of images' names."""

ENDINGS = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2", ".j2k")
"""Of the files of a folder those that are its images; what they are their first bytes say."""
