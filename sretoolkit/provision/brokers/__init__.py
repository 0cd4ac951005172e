"""Ways to hand a machine over."""
