"""How to use a bundle, as text to copy: commands, Python, and a program with onnxruntime alone."""

from __future__ import annotations

import shlex
from pathlib import Path

from googlenet.card import ModelCard
from googlenet.images.pixels import COLOURS, GREY
from googlenet.images.resize import MID_GREY
from googlenet.preprocessing import Preprocessing
from googlenet.text import printable

IMAGE = "IMAGE.jpg"
FILTER = "Image.Resampling.BILINEAR"


def terminal(run: Path) -> str:
    """Return the commands that use and judge a run."""
    name = shlex.quote(printable(str(run)))
    return (
        f"googlenet predict {name} {IMAGE}\n"
        f"googlenet predict {name} FOLDER --csv > results.csv\n"
        f"googlenet evaluate {name} --report report.html"
    )


def python(run: Path, card: ModelCard) -> str:
    """Return a program that predicts with this package; it needs no PyTorch."""
    shown = "labels" if card.multi_label else "label, prediction.probability"
    return (
        "import googlenet\n\n"
        f"classifier = googlenet.load({printable(str(run))!r})\n"
        f"prediction = classifier.predict({IMAGE!r})\n"
        f"print(prediction.{shown})\n"
        "print(prediction.top(5))"
    )


def onnxruntime(bundle: Path, card: ModelCard) -> str:
    """Return a program that predicts with NumPy, Pillow and onnxruntime alone."""
    how = card.preprocessing
    answer = (
        "names = [name for name, p, limit in zip(card['class_names'], probabilities, card['thresholds']) if p >= limit]"
        "\nprint(names)"
        if card.multi_label
        else "best = int(probabilities.argmax())\nprint(card['class_names'][best], float(probabilities[best]))"
    )
    return (
        "import json\n\n"
        "import numpy as np\n"
        "import onnxruntime\n"
        "from PIL import Image, ImageOps\n\n"
        f"bundle = {printable(str(bundle))!r}\n"
        "card = json.load(open(f'{bundle}/card.json', encoding='utf-8'))\n"
        "session = onnxruntime.InferenceSession(f'{bundle}/model.onnx')\n\n"
        f"{_reading(how)}"
        "pixels = pixels.reshape(1, *pixels.shape[:2], -1)  # (N, H, W, C) uint8; the graph normalises\n"
        "(probabilities,) = session.run(['probabilities'], {session.get_inputs()[0].name: pixels})[0]\n"
        f"{answer}"
    )


def _reading(how: Preprocessing) -> str:
    """Return the lines that read an image and bring it to the size of the network."""
    if how.channels not in (GREY, COLOURS):
        return (
            f"pixels = np.load('IMAGE.npy')  # uint8, ({how.size}, {how.size}, {how.channels}): resized and cropped as "
            "the card says\n"
        )
    mode = "L" if how.channels == GREY else "RGB"
    opened = f"image = ImageOps.exif_transpose(Image.open({IMAGE!r})).convert({mode!r})\n"
    return opened + _resizing(how) + "pixels = np.asarray(image)\n"


def _resizing(how: Preprocessing) -> str:
    side, grey = how.resized_side, MID_GREY if how.channels == GREY else (MID_GREY,) * COLOURS
    lines = {
        "crop": f"image = ImageOps.fit(image, ({side}, {side}), {FILTER})\n",
        "pad": f"image = ImageOps.pad(image, ({side}, {side}), {FILTER}, color={grey})\n",
        "squash": f"image = image.resize(({side}, {side}), {FILTER})\n",
    }[how.resize]
    if side == how.size:
        return lines
    start = (side - how.size) // 2
    return lines + f"image = image.crop(({start}, {start}, {start + how.size}, {start + how.size}))\n"


def repeat(card: ModelCard, run: Path) -> str:
    """Return the command that trains the same again."""
    data = printable(str(card.data.get("name", "DATA")))
    return shlex.join(["googlenet", "train", data, "--recipe", printable(str(run)), "--out", "AGAIN"])
