"""Programs: the command line, the service on one machine, processes of slots and of the checker, and logs."""
