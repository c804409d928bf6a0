"""Studies: a grid of ordinary runs from one YAML file, over seeds, on one machine or many, ending in one table."""
