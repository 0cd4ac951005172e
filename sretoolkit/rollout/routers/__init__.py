"""What shares out requests: each module is one kind of router."""
