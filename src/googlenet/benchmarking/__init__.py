"""How fast a classifier is here, what its precisions cost, and networks side by side."""
