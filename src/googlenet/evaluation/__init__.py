"""How good a classifier is: metrics, the choice of images to measure it on, and plots. Never torch."""
