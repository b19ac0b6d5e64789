"""``googlenet verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify", short_help="Check that a bundle is whole and reproduces its stored predictions.")(verify)


def verify(
    run: Annotated[Path, typer.Argument(help="A run of `googlenet train`, or a bundle.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet verify runs/flowers

    Check file hashes and weights, and replay stored reference predictions on this machine.
    """
    from googlenet.cli.output import say, show_json
    from googlenet.inference import verify as verification
    from googlenet.stages import stage

    with stage(f"verifying {run}"):
        result = verification.verify(run)
    if as_json:
        show_json({
            "path": str(result.path), "files": list(result.files), "images": result.images,
            "largest_difference": result.largest_difference, "seconds": result.seconds,
            "precisions": list(result.precisions), "map_differences": result.map_differences,
            "map_size": result.map_size,
        })  # fmt: skip
        return
    say(f"{result.path}: {len(result.files)} files checked ({', '.join(result.files)})")
    say(f"{result.images} golden images replayed in {result.seconds:.1f} s, largest difference of a probability "
        f"{result.largest_difference:.1e}")  # fmt: skip
    if others := result.precisions[1:]:
        say(f"also replayed in {' and '.join(others)}")
    if result.map_differences:
        found = ", ".join(f"{off:.1e} in {precision}" for precision, off in result.map_differences.items())
        say(
            f"class activation maps of up to {result.map_size:.3g} logits, largest difference {found}; their means are "
            "the logits of the answers"
        )
