"""ULTRON's backbone: two convolutional stages, two stages of local attention."""
