"""The scripts of the web page in node, for tests that compare them with what they repeat."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

from googlenet.exporting import web

NODE = shutil.which("node") or shutil.which("nodejs")
# What passes in and out: arrays as [base64, shape], bytes as base64.
READ = """
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const image = ([text, [height, width, channels]]) => {
  return { height, width, channels, data: new Uint8ClampedArray(bytes(text)) };
};
const written = ({ height, width, channels, data }) => {
  return [Buffer.from(data).toString("base64"), [height, width, channels]];
};
const given = JSON.parse(require("node:fs").readFileSync(0, "utf-8"));
"""


def run(script, given):
    """Run lines of JavaScript after the page's own; ``given`` is the input, the value of ``found`` the result."""
    if NODE is None:
        pytest.skip("needs node")
    ours = "\n".join(web.script_text(name) for name in web.OF_WORKER if name != "worker.js")
    whole = f"{ours}\n{READ}\n(async () => {{ {script}\nprocess.stdout.write(JSON.stringify(found)); }})();"
    ended = subprocess.run([NODE, "-e", whole], input=json.dumps(given).encode(), capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout)


def packed(content):
    """Bytes, or an array with its shape, for JSON."""
    if isinstance(content, np.ndarray):
        return [base64.b64encode(content.tobytes()).decode(), content.shape]
    return base64.b64encode(content).decode()


def unpacked(found):
    """An array that a script wrote."""
    return np.frombuffer(base64.b64decode(found[0]), np.uint8).reshape(found[1])
