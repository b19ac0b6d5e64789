"""Why a classifier answered so: what in the image speaks for a class, from a few answers of its graph. No torch."""
