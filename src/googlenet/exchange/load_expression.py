"""The Python that reads a file of weights, for those who get one."""

from __future__ import annotations


def load_expression(name: str) -> str:
    """Return the Python expression that reads the file of weights called ``name``.

    >>> load_expression("flowers.pth")
    "torch.load('flowers.pth', weights_only=True)"
    """
    if name.endswith(".safetensors"):
        return f"safetensors.torch.load_file({name!a})"
    return f"torch.load({name!a}, weights_only=True)"
