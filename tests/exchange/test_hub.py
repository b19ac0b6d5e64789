"""The Hugging Face Hub's own client against a server of this test: what is fetched, and what is sent."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from safetensors.torch import save_file

import googlenet
from googlenet.bundle import CARD
from googlenet.errors import MissingExtraError, RunError, WeightsError
from googlenet.exchange import hub
from tests.conftest import without_stages

REVISION = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as its client asks for. ``server.files`` lie in me/there; ``server.sent`` was received."""

    def do_HEAD(self):
        self._file(body=False)

    def do_GET(self):
        if self.path.startswith("/api/models/me/there"):
            if "/tree/" in self.path:
                self._answer([
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in self.server.files.items()
                ])  # fmt: skip
                return
            siblings = [{"rfilename": name} for name in self.server.files]
            self._answer({"id": "me/there", "sha": REVISION, "siblings": siblings})
        elif "/resolve/" in self.path:
            self._file(body=True)
        else:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.server.sent.append((self.path, self.headers["Authorization"], body))
        if self.headers["Authorization"] != "Bearer hf_good":
            self._answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            self._answer({"url": f"{self.server.url}/me/new", "id": "me/new"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif "/commit/" in self.path:
            self._answer({"success": True, "commitOid": "b" * 40, "commitUrl": f"{self.server.url}/me/new/commit/b"})
        else:
            self._answer({})

    def _file(self, body):
        name = self.path.rpartition("/")[2]
        content = self.server.files.get(name)
        if content is None or "me/there" not in self.path:
            self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        self.server.fetched.append(name)
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": REVISION}
        self._send(content if body else b"", 200, headers | {"Content-Length": str(len(content))})

    def _answer(self, value, status=200, headers=None):
        content = json.dumps(value).encode()
        own = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        self._send(content, status, own | (headers or {}))

    def _send(self, content, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    served = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    served.url = f"http://127.0.0.1:{served.server_port}"
    served.files, served.fetched, served.sent = {}, [], []
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    served.server_close()
    thread.join()


def command(*arguments, endpoint, home, token=None):
    """Run a command line in a process of its own: the client reads where the Hub is when it is imported."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_TOKEN": token} if token else {}
    words = [sys.executable, "-m", "googlenet", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=120)


def one_line(result, code):
    return result.returncode == code and result.stdout == "" and len(without_stages(result.stderr).splitlines()) == 1


@pytest.fixture
def lenet(tmp_path):
    save_file(googlenet.create("lenet5", num_classes=2, in_channels=3).state_dict(), tmp_path / "w.safetensors")
    return (tmp_path / "w.safetensors").read_bytes()


def test_a_repository_is_fetched_when_told_to_and_only_its_weights(server, lenet, tmp_path):
    config = json.dumps({"label_names": ["no", "yes"], "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    server.files = {"model.safetensors": lenet, "pytorch_model.bin": b"x", "config.json": config.encode(), "a.py": b"x"}
    arguments = ("convert", "hf:me/there", "--network", "lenet5", "--out", tmp_path / "run")
    refused = command(*arguments, endpoint=server.url, home=tmp_path / "home")
    assert one_line(refused, 2)
    assert "give --download to fetch it" in refused.stderr
    assert server.fetched == []
    result = command(*arguments, "--download", endpoint=server.url, home=tmp_path / "home")
    assert result.returncode == 0, result.stderr
    assert set(server.fetched) == {"model.safetensors", "config.json"}
    card = googlenet.load(tmp_path / "run").card
    assert card.class_names == ("no", "yes")
    assert card.preprocessing.mean == (0.5, 0.5, 0.5)
    assert card.data["source"] == f"hf:me/there@{REVISION}"
    assert card.data["sha256"] == hashlib.sha256(lenet).hexdigest()


@pytest.mark.parametrize(
    ("repository", "files", "reachable", "says"),
    [
        ("me/nowhere", {}, True, "hf:me/nowhere could not be fetched: "),
        ("me/there", {"README.md": b"x"}, True, "hf:me/there holds none of model.safetensors, pytorch_model.bin"),
        ("me/there", {}, False, "hf:me/there could not be fetched: "),
    ],
    ids=["no repository", "no weights", "no network"],
)
def test_what_cannot_be_fetched_is_one_line(server, tmp_path, repository, files, reachable, says):
    server.files = files
    endpoint = server.url if reachable else "http://127.0.0.1:1"
    arguments = ("convert", f"hf:{repository}", "--network", "lenet5", "--out", tmp_path / "run", "--download")
    result = command(*arguments, endpoint=endpoint, home=tmp_path / "home")
    assert one_line(result, 2), result.stderr
    assert says in result.stderr
    assert not (tmp_path / "run").exists()


def test_without_the_client_the_extra_is_named(trained_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'googlenet\[hub\]'"):
        hub.fetch("me/there", download=True)
    with pytest.raises(MissingExtraError, match=r"pip install 'googlenet\[hub\]'"):
        hub.push(trained_run, "me/new", upload=True, folder=tmp_path / "hub")
    assert hub.push(trained_run, "me/new", folder=tmp_path / "hub") == tmp_path / "hub"


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the trained run, since a push writes into it."""
    shutil.copytree(trained_run / "bundle", tmp_path / "run" / "bundle")
    return tmp_path / "run"


def test_without_upload_only_the_folder_is_written(server, run, tmp_path):
    result = command("push", run, "me/new", endpoint=server.url, home=tmp_path / "home")
    assert (result.returncode, without_stages(result.stderr)) == (0, "")
    assert "nothing was sent" in result.stdout
    assert server.sent == []
    assert googlenet.load(run / "hub").card == googlenet.load(run).card
    text = (run / "hub" / "README.md").read_text("utf-8")
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    for line in ("library_name: googlenet", "pipeline_tag: image-classification", "# license: choose one"):
        assert line in front
    top1 = googlenet.load(run).card.metrics["top1"]
    for part in ("blue, green, red", f"| top1 | {top1:.2%} |", "32 × 32", 'snapshot_download("me/new")'):
        assert part in body
    assert "timm" not in text


def test_with_upload_the_folder_is_what_is_sent(server, run, tmp_path):
    arguments = ("push", run, "me/new", "--folder", tmp_path / "out", "--upload")
    result = command(*arguments, endpoint=server.url, home=tmp_path / "home", token="hf_good")
    assert result.returncode == 0, result.stderr
    assert "sent to me/new" in result.stdout
    create, *_, commit = [(path, body) for path, _, body in server.sent if "create" in path or "commit" in path]
    assert json.loads(create[1])["name"] == "new"
    assert commit[0] == "/api/models/me/new/commit/main"
    lines = [json.loads(line) for line in commit[1].splitlines()]
    received = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
    }
    assert received == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert {CARD, "model.onnx", "weights.safetensors", "golden.npz", "certainty.npz", "README.md"} == received.keys()


def test_an_upload_that_fails_is_one_line_and_leaves_the_folder(server, run, tmp_path):
    result = command("push", run, "me/new", "--upload", endpoint=server.url, home=tmp_path / "home", token="hf_bad")
    assert one_line(result, 2), result.stderr
    assert "me/new could not be sent, the folder" in result.stderr
    assert "hf auth login" in result.stderr
    assert (run / "hub" / "README.md").exists()


def test_a_network_that_timm_knows_takes_timms_files_along(tmp_path):
    torch.manual_seed(0)
    module = timm.create_model("resnet18", num_classes=2)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    googlenet.convert(tmp_path / "w.pth", tmp_path / "run", network="resnet18", class_names="ab", image_size=32)
    folder = hub.write_hub_folder(tmp_path / "run", repo_id="me/new")
    assert folder == tmp_path / "run" / "hub"
    assert "Not measured here" in (folder / "README.md").read_text("utf-8")
    loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in module.state_dict().items())
    again = googlenet.convert(folder, tmp_path / "again", network="resnet18")
    assert again.card.class_names == ("a", "b")
    assert again.card.preprocessing == googlenet.load(folder).card.preprocessing


def test_a_readme_that_was_edited_is_kept_and_nothing_strange_is_sent(run, tmp_path):
    folder = hub.write_hub_folder(run)
    (folder / "README.md").write_text("license: mit")
    assert hub.write_hub_folder(run) == folder
    assert (folder / "README.md").read_text() == "license: mit"
    (folder / "diary.txt").touch()
    with pytest.raises(RunError, match=r"holds files of something else \(diary.txt\): choose another --folder"):
        hub.write_hub_folder(run)
    (folder / "diary.txt").unlink()
    (folder / CARD).write_text("{}")
    with pytest.raises(RunError, match="was made of another state of the run"):
        hub.write_hub_folder(run)
    with pytest.raises(RunError, match="is a file: --folder names a directory"):
        hub.write_hub_folder(run, folder / "README.md")
    for name in ("flowers", "me/my flowers", "../x", "me/a/b", "hf:me/a"):
        with pytest.raises(WeightsError, match="is no name of a repository on the Hugging Face Hub: write OWNER/NAME"):
            hub.push(run, name, folder=tmp_path / "unwritten")
    assert not (tmp_path / "unwritten").exists()
