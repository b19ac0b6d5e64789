"""The web page of a small classifier, written once for all tests of a worker."""

import pytest

import googlenet
from tests.reporting.browser import browser  # noqa: F401


@pytest.fixture(scope="session")
def folder(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("web") / "a page"
    assert googlenet.export(trained_run, folder, to="web").largest_difference <= 1e-3
    return folder
