"""Processes that are left with what they need and no more, as far as the kernel offers that."""
