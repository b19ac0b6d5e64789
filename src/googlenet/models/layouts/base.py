"""What a layout is: how another project names the tensors of one of our networks."""

from __future__ import annotations

# Patterns of our names → replacements of theirs, applied in order.
Layout = tuple[tuple[str, str], ...]
