"""What a bundle knows of answering early: ``exits.npz``, and the graph in parts with a head after each. No torch.

The heads are the auxiliary classifiers of training (Szegedy et al., *Going deeper with convolutions*, 2015, section 5).
That a head may answer where it is confident enough is BranchyNet's idea (Teerapittayanon et al., 2016).
"""

from __future__ import annotations

import io
import shlex
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from googlenet.bundle import EXIT_HEADS, EXITS, MODEL, Bundle
from googlenet.checks.arrays import ArrayLimits, read_npz
from googlenet.errors import BundleError
from googlenet.images.decode import Pixels
from googlenet.inference.engine import Engine, Floats, answer_first_alone, compile_alone
from googlenet.inference.graphs import explained, graph_path, outputs_of, read_graph
from googlenet.inference.runtime import runtime
from googlenet.text import printable

if TYPE_CHECKING:
    from googlenet.models.spec import AuxTap, Network

WORTH = 0.1  # a smaller gain is not worth other answers
BATCHES = (1, 32)  # images at a time, that the gain is measured with
PRECISION = "fp32"  # thresholds are chosen in it, and hold for no other
_ARRAYS: dict[str, ArrayLimits] = {
    "thresholds": ("f8", (None,), len(EXIT_HEADS)),
    "shares": ("f8", (None,), len(EXIT_HEADS)),
    "chosen": ("f8", (4,), 4),
    "gains": ("f8", (len(BATCHES),), len(BATCHES)),
}


@dataclass(frozen=True)
class Exits:
    """From which confidence on each head answers, and what is known of that.

    With a probability of ``confidence``, at most a fraction ``tolerance`` of all answers are other than the full
    network's, for images like those that chose the thresholds: ``images`` held-out ones, of which ``differing`` were
    answered otherwise. ``shares`` has the fraction of them that each head answered. ``gains`` has how much faster
    that was for each of :data:`BATCHES`: 0.25 is 1.25 times as many images in the same time.
    """

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    tolerance: float
    confidence: float
    images: int
    differing: int
    gains: tuple[float, ...] = (0.0,) * len(BATCHES)

    @property
    def is_worth(self) -> bool:
        """Whether the smaller of the gains is 10 % or more."""
        return min(self.gains) >= WORTH

    def to_bytes(self) -> bytes:
        """Return the content of ``exits.npz``."""
        content = io.BytesIO()
        chosen = np.array([self.tolerance, self.confidence, self.images, self.differing], np.float64)
        named = {"thresholds": self.thresholds, "shares": self.shares, "gains": self.gains}
        arrays = {name: np.array(each, np.float64) for name, each in named.items()}
        np.savez(content, chosen=chosen, **arrays)  # type: ignore[arg-type]
        return content.getvalue()


def read_exits(bundle: Bundle) -> Exits:
    """Read ``exits.npz`` of a bundle. Raises :class:`BundleError` if it has none, or other arrays than ours."""
    where = printable(str(bundle.path))
    if not bundle.holds(EXITS):
        raise BundleError(f"{where} has no early exits: add them with `googlenet early-exit {shlex.quote(where)}`")
    try:
        arrays = read_npz(bundle.read(EXITS), _ARRAYS)
        thresholds, shares, gains = (tuple(arrays[name].tolist()) for name in ("thresholds", "shares", "gains"))
        if not len(thresholds) == len(shares) == len(heads_of(bundle.network)):
            raise ValueError(f"it has {len(thresholds)} thresholds, the network {len(heads_of(bundle.network))} heads")
    except ValueError as error:
        raise BundleError(f"{where}/{EXITS} is damaged: {printable(str(error))}; copy the bundle again") from error
    tolerance, confidence, images, differing = arrays["chosen"].tolist()
    return Exits(thresholds, shares, tolerance, confidence, int(images), int(differing), gains)


def heads_of(network: Network) -> list[AuxTap]:
    """Return the auxiliary heads of a network, in the order of their stages."""
    order = [stage.name for stage in network.stages]
    return sorted(network.aux, key=lambda tap: order.index(tap.after))


class Parts:
    """A bundle's graph, cut after the stages that have a head, each head's graph beside its part. In fp32.

    It can be shared between threads. Raises :class:`BundleError` if the graph has no such nodes, as in bundles of
    earlier versions, or a head does not fit.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._bundle, self._engine = bundle, engine
        network = bundle.network
        stages = {stage.name: stage for stage in network.stages}
        self.heads = tuple(tap.name for tap in heads_of(network))
        self._nodes = [_last_node(tap.after, len(stages[tap.after].layers)) for tap in heads_of(network)]
        self._classes = len(bundle.card.class_names)
        self._compiled: dict[int, list[Any]] = {}
        self._requests = threading.local()

    def answers(
        self, batch: Pixels, thresholds: tuple[float, ...], streams: int = 1
    ) -> tuple[Floats, NDArray[np.int64]]:
        """(N, size, size, C) uint8 → probabilities (N, K), and the number of the head that answered, (N,).

        A head answers where its largest probability reaches its threshold; the full network is ``len(heads)``. Images
        that no head has answered yet go on together.
        """
        found = np.empty((len(batch), self._classes), np.float32)
        by = np.full(len(batch), len(self.heads), np.int64)
        rows = np.arange(len(batch))
        x: NDArray[Any] = np.ascontiguousarray(batch)
        for number, threshold in enumerate(thresholds):
            x, probabilities = self._run(number, x, streams)
            sure = probabilities.max(axis=1) >= threshold
            found[rows[sure]], by[rows[sure]] = probabilities[sure], number
            if sure.any():
                rows, x = rows[~sure], x[~sure]
            if not len(rows):
                return self._finite(found), by
        found[rows] = self._run(len(self.heads), x, streams)[0]
        return self._finite(found), by

    def every(self, batch: Pixels) -> list[Floats]:
        """(N, size, size, C) uint8 → the probabilities (N, K) of each head, then of the full network."""
        x: NDArray[Any] = np.ascontiguousarray(batch)
        found = []
        for number in range(len(self.heads)):
            x, probabilities = self._run(number, x, 1)
            found.append(probabilities.copy())
        return [self._finite(each) for each in (*found, self._run(len(self.heads), x, 1)[0].copy())]

    def _finite(self, probabilities: Floats) -> Floats:
        if not np.isfinite(probabilities).all():
            where = graph_path(self._bundle, MODEL)
            raise BundleError(f"{where} has no finite probabilities for some images: train it again")
        return probabilities

    def _run(self, number: int, x: NDArray[Any], streams: int) -> list[Floats]:
        """Run a part: features and probabilities of its head, or the probabilities alone; valid until it runs again."""
        requests = getattr(self._requests, f"of_{streams}", None)
        if requests is None:
            requests = [part.create_infer_request() for part in self._parts(streams)]
            setattr(self._requests, f"of_{streams}", requests)

        def run() -> list[Floats]:
            return list(requests[number].infer([x], share_inputs=True, share_outputs=True).values())

        with explained(self._bundle, MODEL, "cannot be computed here"):
            return answer_first_alone(run)

    def _parts(self, streams: int) -> list[Any]:
        with compile_alone:
            if streams not in self._compiled:
                config = self._engine.config(MODEL, streams)
                self._compiled[streams] = [runtime().compile_model(part, "CPU", config) for part in self._models()]
            return self._compiled[streams]

    def _models(self) -> list[Any]:
        model = read_graph(self._bundle, MODEL)
        with explained(self._bundle, MODEL, "cannot be cut where its heads are"):
            return [self._part(model.clone(), number) for number in range(len(self._nodes) + 1)]

    def _part(self, model: Any, number: int) -> Any:
        import openvino

        given = model.get_parameters()
        nodes = {node.get_friendly_name(): node for node in model.get_ops()}
        if missing := [name for name in self._nodes if name not in nodes]:
            where = graph_path(self._bundle, MODEL)
            raise BundleError(f"{where} has no node {missing[0]!r}: an earlier version wrote it")
        if number:
            at = nodes[self._nodes[number - 1]].output(0)
            given = [openvino.opset8.parameter(at.get_partial_shape(), openvino.Type.f32)]
            _read_instead(at, given[0].output(0))
        if number == len(self._nodes):
            return openvino.Model([outputs_of(model)["probabilities"].get_node().input_value(0)], given)
        features = nodes[self._nodes[number]].output(0)
        return openvino.Model([features, self._head(number, features)], given)

    def _head(self, number: int, features: Any) -> Any:
        """Let a head read ``features``; return its probabilities."""
        name = EXIT_HEADS[number]
        head = runtime().read_model(self._bundle.read(name), b"")
        result = head.output(0).get_node().input_value(0)
        taken = features.get_partial_shape()
        if head.input().get_partial_shape() != taken or result.get_partial_shape()[1] != self._classes:
            raise BundleError(f"{graph_path(self._bundle, name)} does not fit its network, whose features are {taken}")
        _read_instead(head.input().get_node().output(0), features)
        return result


def _read_instead(output: Any, other: Any) -> None:
    """Let all that reads an output read another."""
    for reader in output.get_target_inputs():
        reader.replace_source_output(other)


def _last_node(stage: str, layers: int) -> str:
    """Return the name of the node that ends a stage: its last layer's (``exporting.graph``)."""
    return stage if layers == 1 else f"{stage}.{layers - 1}"
