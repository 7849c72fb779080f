"""Jobs: kept in a database, executed by runners in slots. Any part can be killed at any time."""
