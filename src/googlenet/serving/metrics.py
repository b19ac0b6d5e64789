"""Figures for Prometheus: requests, waiting, and whether images have drifted from those of training."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from googlenet.inference.unknown import FALSE_ALARMS
from googlenet.serving.models import Models, ServedModel
from googlenet.serving.service import Answered, Outcome, Service
from googlenet.text import escape_surrogates

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
CONFIDENCE = tuple(tenth / 10 for tenth in range(1, 10))


disable_created_metrics()  # type: ignore[no-untyped-call]  # a time for each figure, which nobody asks for


class Metrics:
    """The figures of one server. Classes and confidence drift when images change; the card says what was usual.

    Args:
        service: what answers.
    """

    def __init__(self, service: Service) -> None:
        self._registry = registry = CollectorRegistry()
        room = service.admission
        self.requests = Counter("googlenet_requests", "Requests by route and status", ["route", "status"],
                                registry=registry)  # fmt: skip
        self._images = Counter("googlenet_images", "Images by what became of them", ["model", "outcome"],
                               registry=registry)  # fmt: skip
        self._classes = Counter("googlenet_predictions", "Images by predicted class", ["model", "label"],
                                registry=registry)  # fmt: skip
        self._unknown = Counter("googlenet_unknown", "Images called unknown", ["model"], registry=registry)
        self._confidence = Histogram("googlenet_confidence", "Calibrated probability of the predicted class",
                                     ["model"], buckets=CONFIDENCE, registry=registry)  # fmt: skip
        self._seconds = Histogram("googlenet_seconds", "Seconds an image took, by step", ["model", "step"],
                                  buckets=SECONDS, registry=registry)  # fmt: skip
        self.feedback = Counter("googlenet_feedback", "What people said of answers", ["model", "said"],
                                registry=registry)  # fmt: skip
        for name, what, value in (
            ("googlenet_inside_images", "Images inside the server", lambda: room.inside.images),
            ("googlenet_inside_bytes", "Bytes of the requests inside", lambda: room.inside.body),
            ("googlenet_images_per_second", "Rate of answers, measured while there was work", lambda: room.rate),
            ("googlenet_computed", "Images and heat maps that were computed", lambda: service.batcher.computed),
        ):
            Gauge(name, what, registry=registry).set_function(value)
        registry.register(_Baseline(service.models))

    def record(self, model: ServedModel, outcomes: Sequence[Outcome]) -> None:
        """Count the answers to one request."""
        for outcome in outcomes:
            if not isinstance(outcome, Answered):
                self._images.labels(model.name, outcome.code).inc()
                continue
            prediction, times = outcome.prediction, outcome.times
            self._images.labels(model.name, "answered").inc()
            self._classes.labels(model.name, escape_surrogates(prediction.label)).inc()
            self._confidence.labels(model.name).observe(prediction.probability)
            self._unknown.labels(model.name).inc(prediction.is_unknown)
            for step, seconds in vars(times).items():
                self._seconds.labels(model.name, step).observe(seconds)

    def text(self) -> bytes:
        """Return all figures in the text format of Prometheus."""
        return generate_latest(self._registry)


class _Baseline(Collector):
    """What the cards say was usual: read anew each time, as models are replaced."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the figures of all models."""
        info = GaugeMetricFamily("googlenet_model", "Models", labels=["model", "sha256", "precision"])
        what = "From the card: metrics on held-out images, 0 to 1, and the share of known images called unknown"
        usual = GaugeMetricFamily("googlenet_baseline", what, labels=["model", "metric"])
        for model in self._models:
            info.add_metric([model.name, model.sha256, model.precision], 1)
            for name, value in model.classifier.card.metrics.items():
                usual.add_metric([model.name, name], value)
            if model.classifier.tells_unknown:
                usual.add_metric([model.name, "unknown_rate"], FALSE_ALARMS)
        return [info, usual]
