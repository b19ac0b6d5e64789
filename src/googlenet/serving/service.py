"""From the bytes of images to answers: let in, decoded, checked, queued, computed. Knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from googlenet.errors import BundleError, GoogLeNetError, ImageError, ImageTooLargeError
from googlenet.explaining.explanation import Explanation
from googlenet.images.decode import COLOURS, Pixels, opened
from googlenet.images.pixels import GREY
from googlenet.inference.classifier import Prediction
from googlenet.parallel import cores
from googlenet.serving.admission import Admission, Cost, OverloadedError, Ticket
from googlenet.serving.answers import Options, Times
from googlenet.serving.batcher import Batcher, ClosedError, DeadlineError, Done
from googlenet.serving.limits import Limits
from googlenet.serving.models import Models, ServedModel
from googlenet.serving.multipart import Upload
from googlenet.serving.refusal import Refusal

Result = TypeVar("Result")


@dataclass(frozen=True)
class Answered:
    """The answer to one image."""

    prediction: Prediction
    times: Times
    explanation: Explanation | None = None


Outcome = Answered | Refusal


@dataclass(frozen=True)
class Question:
    """What a request asks of a model, until when (by ``time.monotonic``), and the room that it has taken."""

    model: ServedModel
    options: Options
    deadline: float
    ticket: Ticket = field(repr=False)


class _Image(io.BytesIO):
    """The bytes of an image under the name that messages call it."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload.content)
        self.called = upload.name or "the image"


class Service:
    """Answers questions about images, with bounded memory and work.

    Args:
        models: the models.
        limits: what is let in.
    """

    def __init__(self, models: Models, limits: Limits) -> None:
        self.models, self.limits = models, limits
        self.admission = Admission(limits)
        self.batcher = Batcher(models.workers)
        self._decoding = ThreadPoolExecutor(cores(), "decode")
        self.is_ready = True

    def close(self) -> None:
        """Let what was let in finish, then stop."""
        self.is_ready = False
        self._decoding.shutdown()
        self.batcher.close()

    async def classify(self, question: Question, images: Sequence[Upload]) -> list[Outcome]:
        """Answer each image, or say why it could not be read; none of them affects the others.

        Raises :class:`Refusal` where nothing was answered: too much at a time (503), too late (504). If this is
        cancelled, what was not begun is never computed.
        """
        question.options.check(question.model)
        return await _all([self._one(question, image) for image in images], question.deadline)

    async def predict_pixels(self, question: Question, batch: Sequence[Pixels]) -> list[Answered]:
        """Answer images that were decoded, resized and cropped by the caller. Raises as :meth:`classify` does."""
        return await _all([self._computed(question, pixels, 0.0) for pixels in batch], question.deadline)

    async def _one(self, question: Question, image: Upload) -> Outcome:
        try:
            pixels, took = await self._decoded(question, image)
        except ImageTooLargeError as error:
            return Refusal(413, "too_large", str(error))
        except ImageError as error:
            return Refusal(422, "unreadable", str(error))
        answered = await self._computed(question, pixels, took)
        if question.options.heatmap == "none":
            return answered
        return await self._explained(question, image, answered)

    async def _decoded(self, question: Question, image: Upload) -> tuple[Pixels, float]:
        try:
            return await asyncio.wrap_future(self._decoding.submit(self._decode, question, image))
        except OverloadedError as error:
            raise busy(error) from error
        except DeadlineError as error:
            raise _too_late() from error
        except RuntimeError as error:  # the pool was shut down
            raise stopping() from error

    def _decode(self, question: Question, image: Upload) -> tuple[Pixels, float]:
        """Look at the header, take room for the pixels, decode. Runs in a thread."""
        started = time.monotonic()
        if started > question.deadline:
            raise DeadlineError
        cost = self._cost(question.model, image)
        question.ticket.take(cost)
        try:
            pixels = question.model.classifier.preprocess(_Image(image))
        finally:
            question.ticket.free(cost)
        return pixels, time.monotonic() - started

    def _cost(self, model: ServedModel, image: Upload) -> Cost:
        how = model.classifier.card.preprocessing
        if how.channels not in (GREY, COLOURS):  # read as stored
            return Cost(pixels=len(image.content))
        with opened(_Image(image), at_least=how.resized_side) as header:
            return Cost(pixels=header.width * header.height)

    async def _computed(self, question: Question, pixels: Pixels, decode_seconds: float) -> Answered:
        done = await self._queued(question, pixels, question.model.answer, question.model.batches[-1])
        self.admission.answered()
        return Answered(done.result, Times(decode_seconds, done.queue_seconds, done.infer_seconds))

    async def _explained(self, question: Question, image: Upload, answered: Answered) -> Outcome:
        asked = (image.content, answered.prediction.label)
        try:
            done = await self._queued(question, asked, question.model.explain, 1)
        except BundleError as error:  # it changed on disk since it was loaded
            raise Refusal(503, "changed", f"{error}; reload the server's models", {"Retry-After": "5"}) from error
        except GoogLeNetError as error:
            raise Refusal(422, "no_heatmap", str(error)) from error
        return Answered(answered.prediction, answered.times, done.result)

    async def _queued(
        self, question: Question, item: object, run: Callable[..., Sequence[Result]], most: int
    ) -> Done[Result]:
        try:
            future = self.batcher.submit(item, run, most=most, deadline=question.deadline)
            return await asyncio.wrap_future(future)
        except DeadlineError as error:
            raise _too_late() from error
        except ClosedError as error:
            raise stopping() from error


async def _all(works: Sequence[Coroutine[Any, Any, Result]], deadline: float) -> list[Result]:
    """Wait for all results until a deadline. Whatever ends it, nothing of it goes on."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        left = max(deadline - time.monotonic(), 0)
        done, waiting = await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()  # raises what it raised
        if waiting:
            raise _too_late()
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # each error is seen: asyncio would print a traceback


def busy(error: OverloadedError) -> Refusal:
    """Return the refusal of a request for which there is no room."""
    return Refusal(503, "busy", str(error), {"Retry-After": str(error.retry_after)})


def _too_late() -> Refusal:
    return Refusal(504, "deadline", "the deadline passed before there was an answer: allow more time, or ask later")


def stopping() -> Refusal:
    """Return the refusal of a request that comes while the server stops."""
    return Refusal(503, "stopping", "the server stops: try again in 5 s", {"Retry-After": "5"})
