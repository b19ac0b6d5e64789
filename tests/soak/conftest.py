"""`make soak` uses the runs that the tests of training compare with."""

from tests.training.test_checkpoint import train, whole  # noqa: F401
from tests.training.test_distributed import photos, two  # noqa: F401
