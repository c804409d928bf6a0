"""Images -> descriptor store."""
