"""CVNet."""
