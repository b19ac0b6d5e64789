"""The HTTP API of a running server: answers that are those of the classifier, errors, and what it does not let in."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

import googlenet
from googlenet.serving.limits import Limits
from googlenet.serving.server import Settings
from tests.hostile import bombs
from tests.serving.conftest import running

IMAGE = {"Content-Type": "application/octet-stream"}


def classify(client, content, **query):
    return client.post("/v1/classify", params=query, content=content, headers=IMAGE)


def same(result, prediction):
    """Whether an answer is a prediction, bit for bit."""
    top = [(each["label"], each["probability"]) for each in result["top"]]
    return top == prediction.top(len(top)) and result["p_value"] == prediction.p_value


# What it answers.


def test_an_answer_is_the_offline_answer(served, classifier, images):
    for content in images[:3]:
        answer = classify(served.client, content, top=3, sets=0.5, heatmap="numbers")
        assert answer.status_code == 200
        found, expected = answer.json(), classifier.predict(content)
        (result,) = found["results"]
        assert same(result, expected)
        assert (result["label"], result["probability"]) == (expected.label, expected.probability)
        assert result["set"] == {"level": 0.5, "labels": list(expected.set(0.5))}
        assert result["unknown"] is expected.is_unknown
        explained = classifier.explain(content).to_dict()
        assert {name: result["heatmap"][name] for name in ("values", "grid", "class", "sentence", "total")} == {
            name: explained[name] for name in ("values", "grid", "class", "sentence", "total")
        }
        assert found["model"] == {"name": "colours", "sha256": classifier.origin.identity, "precision": "fp32"}
        assert set(result["times"]) == {"decode_ms", "queue_ms", "infer_ms"}


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (7, 3)])
def test_nothing_is_mixed_up_under_load(trained_run, classifier, images, monkeypatch, cores, workers):
    expected = [classifier.predict(content) for content in images]
    order = np.random.default_rng(0).integers(0, len(images), 300)

    def ask(number):
        with_others = [("image", (f"{n}", images[n])) for n in {number, (number * 7) % len(images)}]
        answer = server.client.post("/v1/classify", params={"top": 3}, files=with_others).json()
        return [(int(each["name"]), each) for each in answer["results"]]

    monkeypatch.setattr("googlenet.serving.server.cores", lambda: cores)
    with running(Settings({"colours": trained_run})) as server, ThreadPoolExecutor(16) as pool:
        found = [one for many in pool.map(ask, map(int, order)) for one in many]
        assert server.server.service.models.workers == workers
    assert len(found) > 500
    assert all(same(result, expected[number]) for number, result in found)


def test_one_bad_image_among_good_ones(served, classifier, images):
    files = [("image", (f"{n}.png", content)) for n, content in enumerate(images[:5])]
    files.insert(2, ("image", ("bad.jpg", images[1][: len(images[1]) // 2])))
    found = served.client.post("/v1/classify", files=files).json()["results"]
    assert found[2]["name"] == "bad.jpg"
    assert found[2]["error"] == {"code": "unreadable", "message": "bad.jpg is damaged: the file is truncated"}
    del found[2]
    assert all(same(each, classifier.predict(content)) for each, content in zip(found, images[:5], strict=True))


def test_a_heat_map_as_a_drawing(served, images):
    (result,) = classify(served.client, images[0], heatmap="png").json()["results"]
    assert base64.b64decode(result["heatmap"]["png"])[:4] == b"\x89PNG"


def test_what_the_models_are(served, classifier):
    found = served.client.get("/v1/models").json()
    assert found["models"] == [served.client.get("/v1/models/colours").json()]
    assert found["models"][0]["classes"] == ["blue", "green", "red"]
    assert found["models"][0]["metrics"] == classifier.card.metrics
    example = served.client.get("/v1/models/colours/examples/0")
    assert (example.headers["content-type"], example.content[:4]) == ("image/png", b"\x89PNG")
    assert classify(served.client, example.content).status_code == 200


# The Open Inference Protocol, by Triton's own client.


@pytest.fixture
def client(served):
    with triton.InferenceServerClient(served.url.removeprefix("http://")) as found:
        yield found


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client(client, classifier, images, binary):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("colours")
    assert client.is_model_ready("colours", "1")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    meta = client.get_model_metadata("colours")
    assert [each["datatype"] for each in meta["inputs"]] == ["UINT8", "BYTES"]
    pixels = np.stack([classifier.preprocess(content) for content in images[:3]])
    tensor = triton.InferInput("images", pixels.shape, "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "label")]
    found = client.infer("colours", [tensor], outputs=wanted, request_id="7")
    expected = [classifier.predict(content) for content in images[:3]]
    assert found.get_response()["id"] == "7"
    assert np.array_equal(found.as_numpy("probabilities"), np.stack([each.probabilities for each in expected]))
    labels = [each.decode() if isinstance(each, bytes) else each for each in found.as_numpy("label").tolist()]
    assert labels == [each.label for each in expected]


def test_triton_client_sends_files(client, classifier, images):
    tensor = triton.InferInput("image", [2], "BYTES")
    tensor.set_data_from_numpy(np.array(images[:2], object))
    found = client.infer("colours", [tensor], timeout=20_000_000).as_numpy("probabilities")
    assert np.array_equal(found, np.stack([classifier.predict(each).probabilities for each in images[:2]]))
    tensor.set_data_from_numpy(np.array([images[0], b"no image"], object))
    with pytest.raises(InferenceServerException, match="image 1 is not an image"):
        client.infer("colours", [tensor])
    with pytest.raises(InferenceServerException, match="no model is called"):
        client.infer("colour", [tensor])


BAD_V2 = {
    "not JSON": b"{", "not an object": b"[]", "no inputs": b"{}", "too many": json.dumps({"inputs": [{}] * 5}).encode(),
    "twice": b'{"inputs": [], "inputs": []}',
    **{f"{n}": json.dumps({"inputs": [each]}).encode() for n, each in enumerate((
        {"name": 1, "datatype": "UINT8", "shape": [1]}, {"name": "images", "datatype": "FP32", "shape": [1]},
        {"name": "images", "datatype": "UINT8", "shape": [1, -1]}, {"name": "images", "datatype": "UINT8", "shape": []},
        {"name": "images", "datatype": "UINT8", "shape": [2**30] * 4, "data": [1]},
        {"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [0]},
        {"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 1], "data": [[[[256]]]]},
        {"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 1], "data": [1]},
        {"name": "images", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": 9}},
        {"name": "image", "datatype": "BYTES", "shape": [1], "data": ["*"]},
        {"name": "other", "datatype": "BYTES", "shape": [1], "data": ["aaaa"]},
    ))},
}  # fmt: skip


@pytest.mark.parametrize("body", BAD_V2.values(), ids=BAD_V2)
def test_what_is_not_the_protocol_is_refused(served, body):
    answer = served.client.post("/v2/models/colours/infer", content=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


# What it refuses.


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ({}, b"no image", 422, "unreadable"),
        ({}, b"", 400, "empty"),
        ({"top": 0}, b"x", 400, "bad_request"),
        ({"sets": 0.9999}, b"x", 422, "no_sets"),
        ({"sets": "nan"}, b"x", 400, "bad_request"),
        ({"heatmap": "yes"}, b"x", 400, "bad_request"),
        ({"model": "../../etc/passwd"}, b"x", 404, "no_model"),
        ({"model": "colour"}, b"x", 404, "no_model"),
    ],
)
def test_errors_are_sentences(served, query, content, status, code):
    answer = classify(served.client, content, **query)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert len(error["message"]) > 10
    assert "\n" not in error["message"]


def test_bombs_and_forms_that_are_none(served):
    header = bombs.chunk(b"IHDR", struct.pack(">IIBBBBB", 65535, 65535, 8, 2, 0, 0, 0))
    giant = b"\x89PNG\r\n\x1a\n" + header + bombs.chunk(b"IDAT", b"x")
    for content in (giant, bombs.BOMBS["giant.webp"](), bombs.BOMBS["giant_tile.tif"](), bombs.BOMBS["chunks.png"]()):
        assert classify(served.client, content).status_code in (413, 422)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"",
        b"--x",
        b"--x\r\n\r\nabc",
        b"--x\r\n" + b"A" * 9000 + b": 1\r\n\r\n\r\n--x--",
        b"--x\r\n\r\n\r\n" * 99,
    ):
        assert served.client.post("/v1/classify", content=body, headers=form).status_code == 400
    many = [("image", ("a.png", b"x"))] * 17
    assert served.client.post("/v1/classify", files=many).status_code == 413


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/models", "/v2/models/colours/infer", "/nothing", "/"])
def test_a_body_is_bounded_on_every_route_chunked_too(served, path):
    big = bytes(2_000_001)
    method = "GET" if path in ("/v1/models", "/") else "POST"
    assert served.client.request(method, path, content=big).status_code == 413
    if method == "POST" and path != "/nothing":
        assert served.client.post(path, content=(big[:100_000] for _ in range(40))).status_code == 413
    assert served.client.post(path, content=b"", headers={"Content-Encoding": "gzip"}).status_code == 415


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "[::1"}, 421),
        ({"Host": "me.example:80"}, 422),
        ({"Host": "localhost:1"}, 422),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}, 422),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_names_and_pages_of_others_are_refused(served, headers, status):
    assert served.client.post("/v1/classify", content=b"x", headers=headers).status_code == status


def test_headers_of_every_answer(served):
    for path in ("/", "/page.js", "/v1/models", "/nothing", "/v2/models/nothing"):
        headers = served.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


# Times, and room.


def test_a_deadline_that_has_passed_is_504_and_nothing_is_computed(served, images):
    before = served.server.service.batcher.computed
    late = {**IMAGE, "X-Request-Timeout": "0.000001"}
    answer = served.client.post("/v1/classify", content=images[0], headers=late)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
    assert served.server.service.batcher.computed == before
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        answer = served.client.post("/v1/classify", content=images[0], headers={"X-Request-Timeout": wrong})
        assert answer.status_code == 400


class Slow:
    """Holds a model until it is let go."""

    def __init__(self, model):
        self.go, self.model, self.answer = threading.Event(), model, model.classifier.predict_pixels

    def __enter__(self):
        def wait(*arguments, **named):
            assert self.go.wait(10)
            return self.answer(*arguments, **named)

        self.model.classifier.predict_pixels = wait
        return self

    def __exit__(self, *_):
        self.go.set()
        del self.model.classifier.predict_pixels


def wait_for(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_who_has_left_is_not_computed_and_who_is_too_many_is_told_when_to_return(trained_run, images):
    with running(Settings({"colours": trained_run}, limits=Limits(waiting_images=30))) as found:
        service = found.server.service
        computed, workers = service.batcher.computed, service.models.workers
        with Slow(service.models.first) as slow, ThreadPoolExecutor(31) as pool:
            stay = [pool.submit(httpx.post, f"{found.url}/v1/classify", content=images[0]) for _ in range(workers)]
            wait_for(lambda: service.batcher.computed == computed + workers)
            left = [_send(found.url, images[1]) for _ in range(30 - workers)]
            wait_for(lambda: service.admission.inside.images == 30)
            refused = found.client.post("/v1/classify", content=images[2])
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert found.client.post("/v2/models/none/infer", content=b"").status_code == 503  # before it is looked up
            assert found.client.get("/health/ready").status_code == 200
            for each in left:
                each.close()
            wait_for(lambda: service.admission.inside.images == workers)
            slow.go.set()
            assert all(each.result().status_code == 200 for each in stay)
        assert classify(found.client, images[2]).status_code == 200
        assert service.batcher.computed == computed + workers + 1


def _send(url, content):
    """Send a request, and return its connection without waiting for the answer."""
    host, port = url.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)))
    head = f"POST /v1/classify HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n"
    made.sendall(head.encode() + content)
    return made


def test_who_is_slow_is_closed(trained_run):
    limits = Limits(header_seconds=0.5, idle_seconds=1.0, body_seconds=2.0)
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"
    with running(Settings({"colours": trained_run}, limits=limits)) as found, ThreadPoolExecutor(4) as pool:
        sent = (b"", b"POST /v1/cl", head + b"abc", b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET")
        answers = list(pool.map(lambda each: _read_until_closed(found.url, each), sent))
    assert [each[9:12] for each in answers] == [b"", b"", b"408", b"200"]


def _read_until_closed(url, sent):
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(sent)
        answer = b""
        try:
            while part := slow.recv(4096):
                answer += part
        except ConnectionError:
            pass
        return answer


def test_no_answer_waits_for_the_clients_acknowledgement(served):
    def ask():
        begun = time.perf_counter()
        assert served.client.get("/v1/models").status_code == 200
        return time.perf_counter() - begun

    assert min([ask() for _ in range(40)][20:]) < 0.03  # a delayed acknowledgement takes 40 ms


# Figures, tokens, what people say.


def test_figures_for_prometheus(served, images):
    before = _figure(served, 'googlenet_images_total{model="colours",outcome="answered"}')
    (result,) = classify(served.client, images[5]).json()["results"]
    classify(served.client, b"no image")
    assert _figure(served, 'googlenet_images_total{model="colours",outcome="answered"}') == before + 1
    assert _figure(served, f'googlenet_predictions_total{{label="{result["label"]}",model="colours"}}') > 0
    assert _figure(served, 'googlenet_baseline{metric="unknown_rate",model="colours"}') == 0.05
    assert _figure(served, 'googlenet_confidence_count{model="colours"}') >= before + 1
    assert _figure(served, 'googlenet_requests_total{route="/v1/classify",status="422"}') > 0
    assert _figure(served, "googlenet_inside_images") == 0


def _figure(served, name):
    lines = served.client.get("/metrics").text.splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def test_a_token_and_what_people_said(trained_run, images, tmp_path):
    settings = Settings({"a": trained_run, "b": trained_run}, token="s3cret", keep=tmp_path / "kept")
    with running(settings) as found:
        for path in ("/v1/models", "/metrics", "/openapi.json", "/v2"):
            assert httpx.get(found.url + path).status_code == 401
            assert httpx.get(found.url + path, headers={"Authorization": "Bearer s3cre"}).status_code == 401
            assert found.client.get(path).status_code == 200
        assert httpx.get(found.url).status_code == httpx.get(f"{found.url}/health/ready").status_code == 200
        assert found.client.post("/v1/reload").json() == {"a": "unchanged", "b": "unchanged"}
        for number, content in enumerate(images[:6]):
            query = {"label": ("red", "green")[number % 2], "answer": "red", "model": "b"}
            answer = found.client.post("/v1/feedback", params=query, files={"image": content})
            assert answer.status_code == 200, answer.text
        again = {"label": "red", "answer": "green"}
        assert found.client.post("/v1/feedback", params=again, files={"image": images[1]}).status_code == 200
        for label in ("violet", "../red", ".."):
            assert found.client.post("/v1/feedback", params={"label": label}, content=images[0]).status_code == 422
        assert found.client.post("/v1/feedback", params={"label": "red"}, content=b"no").status_code == 422
        assert 'googlenet_feedback_total{model="b",said="corrected"} 3.0' in found.client.get("/metrics").text
    data = googlenet.open_data(tmp_path / "kept", val_fraction=0.5)
    assert data.class_names == ("green", "red")
    assert len(data.train) + len(data.val) == 6
    assert len((tmp_path / "kept" / "answers.jsonl").read_text().splitlines()) == 7


def test_without_keep_nothing_is_taken(served, images):
    assert served.client.post("/v1/feedback", params={"label": "red"}, content=images[0]).status_code == 404
    assert served.client.post("/v1/reload").status_code == 403
