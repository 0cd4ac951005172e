"""Ways to a machine's power: each module is one, named as the user types it."""
