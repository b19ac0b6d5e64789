"""`make soak` uses the browser of the report's tests, and the runs that the tests of training compare with."""

from tests.reporting.browser import browser, opened  # noqa: F401
from tests.training.test_checkpoint import train, whole  # noqa: F401
from tests.training.test_distributed import photos, two  # noqa: F401
