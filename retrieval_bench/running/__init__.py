"""The steps of a run, which `bench` puts in order."""
