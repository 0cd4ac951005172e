"""Where services run: each module is one kind of workload."""
