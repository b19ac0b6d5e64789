"""Networks as data, what reads the data (analysis: no torch), and what builds from it (build: torch)."""
