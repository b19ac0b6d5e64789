"""``python -m googlenet`` is the same as ``googlenet``."""

from googlenet.cli import main

main()
