"""The part of a classifier that finds the training images most like an image. No torch."""

from __future__ import annotations

from functools import cached_property

from googlenet.images.decode import ImageSource
from googlenet.inference.batches import whole_count
from googlenet.inference.explained_branches import ExplainsBranches
from googlenet.inference.neighbours import COUNT, Neighbour, Neighbours, has_neighbours, read_neighbours


class ExplainsNeighbours(ExplainsBranches):
    """What explains answers by examples: a part of :class:`~googlenet.inference.classifier.Classifier`."""

    @property
    def has_neighbours(self) -> bool:
        """Whether the bundle keeps training images: where ``train --keep-neighbours`` made it."""
        return has_neighbours(self.bundle)

    def neighbours(self, source: ImageSource, count: int = COUNT) -> list[Neighbour]:
        """Return the training images whose embeddings are nearest to that of an image, by their cosine.

        Args:
            source: an image, as :meth:`predict` takes it.
            count: how many, the nearest first.

        Raises:
            ImageError: the image cannot be read.
            BundleError: the bundle keeps no training images, or they are damaged.

        ::

            for neighbour in classifier.neighbours("daisy.jpg"):
                print(neighbour.name, neighbour.labels, neighbour.similarity)
        """
        count = whole_count(count, "count is a whole number of images")
        kept = self._kept_images
        embedding = self.engine.embeddings(self.preprocess(source)[None])[0]
        return kept.nearest(embedding, self.class_names, count)

    @cached_property
    def _kept_images(self) -> Neighbours:
        return read_neighbours(self.bundle)
