"""Rollouts: a new version comes in by small shares of the requests, is judged, and is taken back when it does not do."""
