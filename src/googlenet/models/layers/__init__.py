"""The layer types. A new one is a dataclass and its entry, with cost and tensors, in one of these files."""
