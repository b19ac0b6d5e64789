"""How good a classifier is, as numbers and as pictures. Imports inference, data, images and below."""
