"""Weights in and out: other projects' files become bundles, bundles become what other projects load."""
