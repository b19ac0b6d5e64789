"""Everything this package raises on purpose.

    GoogLeNetError
    ├── NetworkError            a network that does not exist or is not consistent
    │   └── InputSizeError      an image smaller than the network can take
    ├── ImageError              one image
    │   ├── UnreadableImageError    not an image, damaged, or in an unsupported format
    │   └── ImageTooLargeError      more pixels than allowed (a decompression bomb)
    ├── DataError               labelled images that cannot be used for training or evaluation
    ├── FetchError              a named set of images that could not be downloaded or is incomplete
    ├── RecipeError             a recipe with unknown keys or bad values
    ├── RunError                a run directory that exists already, is missing or cannot be written
    │   ├── CheckpointError     a checkpoint that is damaged or belongs to something else
    │   └── DiskFullError       no space left; what was saved before is intact
    ├── NonFiniteLossError      the loss became NaN or infinite
    ├── StoppedError            stopped by Ctrl-C or SIGTERM, after saving
    ├── WeightsError            weights that cannot be read or do not fit
    ├── BundleError             a bundle that is missing, damaged, foreign or too new
    ├── ResultsError            a file or folder for results that exists already or does not match
    ├── ClusterError            a cluster that cannot be reached, or whose results are incomplete
    ├── DeviceError             a device this machine does not have
    ├── MachineError            memory, files, processes or access that the machine refused
    └── MissingExtraError       an optional part of the package is not installed

Each message is one line: what was got, what is allowed and what to do.
"""

from __future__ import annotations

from collections.abc import Callable


class GoogLeNetError(Exception):
    """The base class: ``except GoogLeNetError`` catches everything that this package raises on purpose."""

    def __reduce__(self) -> tuple[Callable[..., GoogLeNetError], tuple[object, ...]]:
        """Let every error cross a process, whatever it is made of."""
        return _restored, (type(self), self.args, self.__dict__)


class NetworkError(GoogLeNetError, ValueError):
    """A network that does not exist, or whose layers do not fit together."""


class InputSizeError(NetworkError):
    """An image smaller than the network can take."""


class ImageError(GoogLeNetError):
    """One image cannot be used."""


class UnreadableImageError(ImageError):
    """Not an image, damaged, or in an unsupported format."""


class ImageTooLargeError(ImageError):
    """More pixels than allowed: reading it could exhaust the memory."""


class DataError(GoogLeNetError):
    """Labelled images, a folder or a list of them, that cannot be used for training or evaluation."""


class FetchError(GoogLeNetError):
    """A named set of images could not be downloaded, or is incomplete on disk."""


class RecipeError(GoogLeNetError, ValueError):
    """A recipe with unknown keys or bad values; the message lists all of them."""


class RunError(GoogLeNetError):
    """A run directory that exists already, is missing, or cannot be written."""


class CheckpointError(RunError):
    """A checkpoint that is damaged or belongs to other data, another network or another recipe."""


class DiskFullError(RunError):
    """No space is left on the disk. What was saved before is intact."""


class CallbackError(RunError):
    """A callback of the caller's, or a logger, failed; its error is the ``__cause__``. The run was saved."""


class NonFiniteLossError(GoogLeNetError):
    """The loss became NaN or infinite. ``files`` are the images of that batch."""

    def __init__(self, message: str, files: tuple[str, ...]) -> None:
        super().__init__(message)
        self.files = files


class StoppedError(GoogLeNetError):
    """Stopped by a signal, after what was done was saved. ``exit_code`` is 128 + signal."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class WeightsError(GoogLeNetError, ValueError):
    """Weights that cannot be read, do not fit the network, or cannot be fetched or sent."""


class BundleError(GoogLeNetError):
    """A bundle that is missing, damaged, foreign, or written by a newer version."""


class ResultsError(GoogLeNetError):
    """A file or folder for results that exists already, or that does not match what is to be written."""


class ClusterError(GoogLeNetError):
    """A cluster that cannot be reached, stopped working, or returned incomplete results."""


class DeviceError(GoogLeNetError):
    """A device this machine does not have."""


class MachineError(GoogLeNetError):
    """The machine refused something: memory, open files, processes, or access to a file."""


class MissingExtraError(GoogLeNetError, ImportError):
    """An optional part of the package is not installed."""

    def __init__(self, extra: str, missing: str) -> None:
        super().__init__(f"this needs {missing}, which is not installed: pip install 'googlenet[{extra}]'")
        self.extra, self.missing = extra, missing


def _restored(kind: type[GoogLeNetError], arguments: tuple[object, ...], state: dict[str, object]) -> GoogLeNetError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error
