"""``Explanation``: what in an image speaks for a class and what against it, as numbers, in words and drawn."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from googlenet.errors import GoogLeNetError, UnreadableImageError
from googlenet.explaining.projection import Floats
from googlenet.explaining.seen import Seen, see
from googlenet.files import replace_file, write_error
from googlenet.images.pixels import ImageSource
from googlenet.images.resampling import Box
from googlenet.preprocessing import Preprocessing
from googlenet.text import escape_surrogates, printable

if TYPE_CHECKING:
    from PIL import Image

SIGN = "positive values speak for the class, negative ones against it"
PNG_LEVEL = 4  # of compression: half as long as zlib's own level, 6, for files of about the same size


class Drawn:
    """What draws itself as an image: it can be saved, and notebooks show it."""

    def image(self) -> Image.Image:
        """Draw it."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write :meth:`image` as a file whose name ends in ``.png``. Raises :class:`RunError` if that fails."""
        save(self.image(), path)

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.image().save(content, "PNG", compress_level=PNG_LEVEL)
        return content.getvalue()


@dataclass(frozen=True)
class Asked:
    """The class that is explained, perhaps against another one, their probabilities, and what the answer was."""

    class_name: str
    probability: float
    answer: str
    answer_probability: float
    against: str | None = None
    against_probability: float | None = None

    def sentence(self) -> str:
        """Say it in one clause."""
        said = f"{printable(self.class_name)} {self.probability:.1%}"
        if self.against is not None:
            said += f" rather than {printable(self.against)} {self.against_probability:.1%}"
        if self.answer != self.class_name:
            said += f" (the answer is {printable(self.answer)} {self.answer_probability:.1%})"
        return said


@dataclass(frozen=True, eq=False)
class Explanation(Drawn):
    """What in one image speaks for a class.

    ``values`` (h, w) lie on a grid over ``box``, the part of the image that the network saw (left, top, right, bottom
    as fractions of its width and height). Positive values speak for the class, negative ones against it.

    With ``method`` ``"cam"``, the class activation map, ``unit`` is ``"logit"`` and the mean of the values is
    ``total``, the logit of the class before calibration (with a class ``against`` which it is asked: the difference of
    both logits). ``"occlusion"`` and ``"rise"`` tell how much the ``"log-odds"`` of the class fall where the image is
    covered; ``total`` are those of the image as it is, and values up to ``noise`` are not told from chance.

    ``"gradcam"`` is an estimate from the maps of a ``stage`` and the gradients there; ``"ig"``, integrated gradients,
    is what each place adds to the logit of an image of the mean colour: the mean of its values is the difference.

    ``precision`` is what the values were computed in, ``notes`` are what else must be known to read them.
    """

    values: Floats = field(repr=False)
    asked: Asked
    method: str
    unit: str
    precision: str
    total: float
    box: Box = field(repr=False)
    preprocessing: Preprocessing = field(repr=False)
    source: ImageSource | None = field(repr=False)
    noise: float = 0.0
    temperature: float = 1.0
    notes: tuple[str, ...] = ()
    stage: str | None = None

    def __post_init__(self) -> None:
        self.values.flags.writeable = False

    @cached_property
    def seen(self) -> Seen:
        """Where the evidence lies."""
        return see(self.values, self.box, self.noise)

    @property
    def sentence(self) -> str:
        """What was seen where, in one line."""
        return f"{self.asked.sentence()}, {self.seen.sentence(printable(self.asked.class_name))}"

    @property
    def place(self) -> str:
        """What was seen where, without the class."""
        said = self.seen.sentence(printable(self.asked.class_name))
        return said[0].upper() + said[1:]

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for ``json.dumps``: the classes, the values with sign, unit and grid, and the sentence.

        ::

            explanation.to_dict()["grid"]  # {"rows": 7, "columns": 7, "box": [0.1, 0.0, 0.9, 1.0]}
        """
        path = os.fspath(self.source) if isinstance(self.source, (str, os.PathLike)) else None
        asked = {name: escape_surrogates(value) if isinstance(value, str) else value
                 for name, value in vars(self.asked).items()}  # fmt: skip
        rows, columns = self.values.shape
        return {
            "path": None if path is None else escape_surrogates(path),
            "class": asked.pop("class_name"),
            **asked,
            "method": self.method,
            "stage": self.stage,
            "unit": self.unit,
            "sign": SIGN,
            "total": self.total,
            "temperature": self.temperature,
            "noise": self.noise,
            "precision": self.precision,
            "sentence": escape_surrogates(self.sentence),
            "seen": self.seen.to_dict(),
            "grid": {"rows": rows, "columns": columns, "box": list(self.box)},
            "values": [[float(f"{value:.6g}") for value in row] for row in self.values.tolist()],
            "notes": list(self.notes),
        }

    def image(self, scale: float | None = None) -> Image.Image:
        """Draw the image and, beside it, the evidence over it. Colours are full at ``scale``, in ``unit``.

        By default that is the largest value of the map, so that maps of different images are not to be compared.
        Raises :class:`ImageError` if the image cannot be read again.
        """
        return draw([self], scale)

    def save(self, path: str | Path, scale: float | None = None) -> None:
        """Write :meth:`image` as a file whose name ends in ``.png``. Raises :class:`RunError` if it cannot be written.

        ::

            classifier.explain("daisy.jpg").save("why.png")
        """
        save(self.image(scale), path)


def draw(explanations: list[Explanation], scale: float | None = None) -> Image.Image:
    """Draw an image beside what several methods say of it. See :meth:`Explanation.image`."""
    from googlenet.explaining.drawing import draw_maps

    if scale is not None and not (isinstance(scale, (int, float)) and scale > 0):
        raise GoogLeNetError(f"scale is the value, above 0, at which colours are full, got {scale!r}")
    if explanations[0].source is None:
        raise UnreadableImageError(
            "the image came from an open file, which is not kept: call explain of the classifier with the image"
        )
    return draw_maps(explanations, scale)


def save(image: Image.Image, path: str | Path) -> None:
    """Write a drawn image as a PNG, whole or not at all. Raises :class:`RunError` if it cannot be written."""
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise GoogLeNetError(f"an explanation is saved as a .png file, got {printable(path.name)!r}")
    try:
        replace_file(path, lambda fresh: image.save(fresh, "PNG", compress_level=PNG_LEVEL))
    except OSError as error:
        raise write_error(path, error) from error
