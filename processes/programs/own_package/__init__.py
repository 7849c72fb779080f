"""Packages of networks of one's own: made, and checked on real chips."""
