"""Programs: the command line, the service on one machine, a slot's process, and logs."""
