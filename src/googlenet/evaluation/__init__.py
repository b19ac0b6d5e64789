"""How good a classifier is, as numbers and as images. Imports inference, data, images and below."""
