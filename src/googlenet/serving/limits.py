"""What one server accepts: sizes, numbers and times, each with its default."""

from __future__ import annotations

from dataclasses import dataclass, fields

from googlenet.errors import GoogLeNetError
from googlenet.images import budget

MEGA = 1_000_000


@dataclass(frozen=True)
class Limits:
    """The limits of a server. Sizes in bytes, times in seconds.

    Attributes:
        body: of one request.
        images: of one request.
        waiting_images: in the server at a time, from the arrival of a request to its answer.
        waiting_bytes: of the bodies of these.
        waiting_pixels: of these images, decoded.
        deadline: until which a request is answered, where it does not ask for less.
        header_seconds: from the first moment of a connection, or from the first byte of a further request, to the end
            of the headers.
        body_seconds: from the headers to the end of the body.
        idle_seconds: between two requests of a connection, and between two parts of a body or of an answer.
        drain_seconds: after SIGTERM, for requests that were accepted.
    """

    body: int = 32 * MEGA
    images: int = 64
    waiting_images: int = 64
    waiting_bytes: int = 256 * MEGA
    waiting_pixels: int = 200 * MEGA
    deadline: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    idle_seconds: float = 5.0
    drain_seconds: float = 8.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                raise GoogLeNetError(f"the limit {each.name} is above 0, got {value!r}")

    @property
    def pixels(self) -> int:
        """Pixels of one image: as many as any command reads, and no more than may wait."""
        return min(budget.max_pixels(), self.waiting_pixels)
