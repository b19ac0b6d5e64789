"""A run under every name of the names suite; `make test` takes every fourth."""

import json
import shutil

import pytest

from tests.names.conftest import NAMES


@pytest.mark.parametrize("name", NAMES, ids=map(str, range(len(NAMES))))
def test_a_run_may_be_called_anything(trained_run, tmp_path, call, name):
    run = tmp_path / name
    shutil.copytree(trained_run, run)
    photos = trained_run.parent / "photos"
    code, out, err = call("predict", run, photos / "red/000.png", "--json")
    assert code == 0, err
    assert json.loads(out)[0]["class"]
    for arguments in (("evaluate", run, photos), ("verify", run), ("export", run), ("push", run, "me/new")):
        code, out, err = call(*arguments)
        assert code == 0, err
        assert "\x1b" not in out + err
