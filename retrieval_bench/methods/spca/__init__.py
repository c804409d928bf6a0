"""SpCa."""
