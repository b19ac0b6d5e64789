"""How other projects name the tensors of our networks. Data only."""
