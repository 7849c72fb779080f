"""Jobs: kept in a database, driven by runners, worked off in slots; any part can be killed at any time."""
