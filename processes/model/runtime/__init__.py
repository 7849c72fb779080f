"""Runtimes: libraries that run a network on this machine's processors."""
