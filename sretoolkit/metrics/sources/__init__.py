"""The monitoring systems: one module each, named as the user types it."""
