"""SuperGlobal."""
