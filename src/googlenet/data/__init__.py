"""Labelled images for training and evaluation. Imports errors, card and images only; never torch."""
