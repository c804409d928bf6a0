"""One folder per method, on the base they share."""
