"""What OpenVINO compiled of a bundle's graphs, kept in the user's cache for the next process. No torch.

OpenVINO keeps compiled graphs as well, but to find one it must be given the graph, which takes longer to read than the
compiled one. Here they are found by what the card says, and the graph itself is not read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from googlenet._version import __version__
from googlenet.bundle import Bundle
from googlenet.files import write_whole
from googlenet.inference.runtime import runtime

PAGE = 4096  # bytes before a compiled graph, so that it can be mapped into memory: how many bytes it has
FACTS = "facts.json"
MADV_PAGEOUT = 21  # of Linux


@dataclass(frozen=True)
class Facts:
    """What was found in a graph that was read and checked: the names of its outputs, the number of its networks."""

    outputs: tuple[str, ...]
    members: int


class CompiledGraphs:
    """The folder of one graph. What cannot be written, or is damaged, is not there: the graph is read once more.

    ``files`` are the names of the bundle's files that make up the graph.
    """

    def __init__(self, cache: Path, bundle: Bundle, files: tuple[str, ...]) -> None:
        self._bundle, self._files = bundle, files
        self._folder = cache / _identity(bundle, files)
        self._mapped: list[np.memmap[Any, Any]] = []

    def facts(self) -> Facts | None:
        """Return what was found in this graph, if it was checked before.

        The files of the bundle must still be those: raises :class:`BundleError` as :meth:`Bundle.read` does.
        """
        try:
            found = json.loads((self._folder / FACTS).read_bytes())
            facts = Facts(tuple(map(str, found["outputs"])), int(found["members"]))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        for name in self._files:
            self._bundle.check_hash(name)
        return facts

    def keep_facts(self, facts: Facts) -> None:
        """Keep what was found in a graph that was read and checked."""
        self._write(FACTS, json.dumps(asdict(facts)).encode())

    def load(self, outputs: tuple[str, ...], device: str, config: dict[str, Any]) -> Any:
        """Return the ``openvino.CompiledModel`` of some outputs and settings; ``None`` if it is not there."""
        try:
            path = self._folder / _name(outputs, config)
            with path.open("rb") as file:
                size = int(file.read(PAGE))
            if not size or path.stat().st_size != PAGE + size:
                return None
            core = runtime()
            import openvino

            mapped = np.memmap(path, np.uint8, "c", PAGE)  # copied where it is written to: OpenVINO takes no other
            compiled = core.import_model(openvino.Tensor(mapped, shared_memory=True), device, config)
        except (OSError, ValueError, RuntimeError):
            return None
        compiled.mapped = mapped  # its weights stay there
        self._mapped.append(mapped)
        return compiled

    def release(self) -> None:
        """Free the memory of what was read: OpenVINO has its own copy of the weights once it has answered.

        What it should read again comes from the file.
        """
        for mapped in self._mapped:
            if sys.platform == "linux":
                with contextlib.suppress(OSError):  # an older Linux
                    mapped._mmap.madvise(MADV_PAGEOUT)  # type: ignore[attr-defined]
        self._mapped.clear()

    def keep(self, compiled: Any, outputs: tuple[str, ...], config: dict[str, Any]) -> None:
        """Keep a compiled graph."""
        content = io.BytesIO(bytes(PAGE))
        content.seek(PAGE)
        try:
            compiled.export_model(content)
        except RuntimeError:  # OpenVINO cannot on this processor
            return
        content.seek(0)
        content.write(str(len(content.getbuffer()) - PAGE).encode().ljust(PAGE))
        self._write(_name(outputs, config), content.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / name, content)


def _identity(bundle: Bundle, files: tuple[str, ...]) -> str:
    """Return a hash of all that decides what is compiled, and whether the graph fits its card."""
    card, core = bundle.card, runtime()
    device = core.get_property("CPU", "FULL_DEVICE_NAME"), sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    of_openvino = core.get_versions("CPU")["CPU"].build_number
    of_card = [card.files.get(name) for name in files], card.preprocessing.size, card.preprocessing.channels
    decides = of_card, len(card.class_names), __version__, of_openvino, device
    return hashlib.sha256(repr(decides).encode()).hexdigest()


def _name(outputs: tuple[str, ...], config: dict[str, Any]) -> str:
    return hashlib.sha256(repr((outputs, sorted(config.items()))).encode()).hexdigest() + ".blob"
