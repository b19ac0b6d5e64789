"""Very many images into results that survive a kill; sorting; a Ray cluster. Never torch."""
