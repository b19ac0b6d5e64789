"""What deploy/ holds: read by a YAML parser, and its commands by the real command line. Nothing of it is run here."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def commands():
    """The arguments of `googlenet serve` in each file."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[1]) == ["googlenet", "serve"]
    yield json.loads(re.search(r"^CMD (.*)$", dockerfile, re.MULTILINE)[1])
    yield yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["googlenet"]["command"]
    unit = re.search(r"^ExecStart=\S+/googlenet serve (.*)$", (DEPLOY / "googlenet.service").read_text(), re.MULTILINE)
    yield shlex.split(unit[1])
    deployment, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    yield deployment["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("arguments", list(commands()))
def test_every_option_exists(call, arguments):
    code, _, err = call("serve", *arguments, "--help")
    assert code == 0, err
    assert "0.0.0.0" in arguments


def test_what_is_copied_and_asked_for_is_there(served):
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert all((DEPLOY.parent / name).exists() for names in copied for name in names.split())
    paths = {path for file in DEPLOY.iterdir() for path in re.findall(r"/health/\w+", file.read_text())}
    assert paths == {"/health/live", "/health/ready"}
    assert all(served.client.get(path).status_code == 200 for path in paths)
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"][0]["targets"][0].split(":")[0] in services["googlenet"]["command"]
