"""``pruning.json`` in the run of a pruned network: what was removed and why, for ``--resume`` and people. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from googlenet.errors import RunError
from googlenet.evaluation.intervals import Interval
from googlenet.pruning.ranking import Branch
from googlenet.strict_json import parse_json
from googlenet.text import json_text, printable
from googlenet.training import directory
from googlenet.training.directory import PRUNING


@dataclass(frozen=True)
class Record:
    """What is known before fine-tuning; ``weights`` is the sha256 of the original's weights."""

    weights: str
    images: int
    ranking: tuple[Branch, ...]
    removed: tuple[Branch, ...]
    bordered: tuple[str, ...]

    def write(self, out: Path, more: Mapping[str, Any] | None = None) -> None:
        """Write it, with ``more`` that was found since. Raises :class:`RunError`, :class:`DiskFullError`."""
        fields = {
            "weights": self.weights,
            "images": self.images,
            "bordered": list(self.bordered),
            "removed": [branch.to_dict() for branch in self.removed],
            "ranking": [branch.to_dict() for branch in self.ranking],
        }
        directory.write_whole(out / PRUNING, (json_text({**fields, **(more or {})}, indent=2) + "\n").encode())

    @classmethod
    def read(cls, out: Path) -> Record:
        """Read it back. Raises :class:`RunError` where there is none, or it is damaged."""
        path = out / PRUNING
        name = printable(str(out))
        try:
            fields = parse_json(path.read_text("utf-8"))
            ranking, removed = (tuple(map(_branch, fields[key])) for key in ("ranking", "removed"))
            return cls(str(fields["weights"]), int(fields["images"]), ranking, removed, tuple(fields["bordered"]))
        except FileNotFoundError as error:
            raise RunError(f"{name} holds no pruning to resume: leave --resume out to start one") from error
        except OSError as error:
            raise RunError(f"{printable(str(path))} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{printable(str(path))} is damaged: start again with --overwrite") from error


def _branch(fields: dict[str, Any]) -> Branch:
    return Branch(fields["module"], fields["branch"], fields["channels"], fields["macs"], Interval(**fields["loss"]),
                  fields["right"])  # fmt: skip
