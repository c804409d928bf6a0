"""Weight files: what a file is, its tensors and entries, and where converted ones came from."""
