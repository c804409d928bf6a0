"""What each command does, behind `cli`. Imports that load torch stand inside the functions."""
