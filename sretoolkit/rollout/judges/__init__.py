"""Who decides about a candidate: each module is one judge."""
