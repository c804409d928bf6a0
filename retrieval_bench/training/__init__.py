"""A method and a data module -> a trained method."""
