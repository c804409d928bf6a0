"""The plain values that pass from room to room."""
