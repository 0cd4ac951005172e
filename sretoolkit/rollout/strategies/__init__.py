"""How a new version comes in: each module is one strategy."""
