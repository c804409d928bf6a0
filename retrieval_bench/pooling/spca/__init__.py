"""SpCa's pooling."""
