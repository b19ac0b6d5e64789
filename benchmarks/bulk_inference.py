"""Images per second from a folder of JPEGs to predicted classes: ours, torchvision's, ONNX Runtime's, Ultralytics'.

    python benchmarks/bulk_inference.py IMAGES [--images 600] [--megapixels 12] [--rounds 3] [--json]

IMAGES is a folder of photographs, which are repeated up to ``--images``. All networks have 1000 classes and random
weights; ours is ``googlenet_bn`` at 224 px in fp32, bf16 and int8. It is compared with:

- torchvision's GoogLeNet as its users run it: a Dataset of Pillow images, the usual transforms, a DataLoader with one
  process for each core, batches of 32, fp32 and torch's default memory layout;
- ONNX Runtime on our graph in fp32, with the threads that read for our engine;
- Ultralytics' yolo11n-cls on a list of files, as its command line runs it, if it is installed: a network of one sixth
  of the size.

Two limits are measured beside them, with the same number of threads: decoding alone, and inference alone. Each runs in
a process of its own, which waits during the turns of the others; medians over the rounds are compared. With
``--megapixels`` the images are mosaics of the photographs with so many pixels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from in_turns import Round, Runner
from PIL import Image

CLASSES, SIZE, BATCH = 1000, 224, 32
WARM = 64  # images that are not counted

Run = Callable[[list[str]], int]  # how many were answered


def torchvision_dataloader(bundle: Path) -> Run:
    """Build torchvision's network and the usual way to feed it."""
    import os

    import torch
    import torchvision
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    model = torchvision.models.googlenet(num_classes=CLASSES, aux_logits=False, init_weights=False).eval()
    usual = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(SIZE), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip

    class Files(Dataset):
        def __init__(self, files: list[str]) -> None:
            self.files = files

        def __len__(self) -> int:
            return len(self.files)

        def __getitem__(self, index: int) -> torch.Tensor:
            return usual(Image.open(self.files[index]).convert("RGB"))

    def run(files: list[str]) -> int:
        with torch.inference_mode():
            batches = DataLoader(Files(files), BATCH, num_workers=os.cpu_count() or 1, multiprocessing_context="fork")
            return sum(len(model(images).argmax(1)) for images in batches)

    return run


def onnx_runtime(bundle: Path) -> Run:
    """Run our graph in ONNX Runtime, with our decoder."""
    import onnxruntime

    from googlenet import load
    from googlenet.parallel import map_ordered

    prepare = load(bundle, "fp32").preprocess
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])

    def run(files: list[str]) -> int:
        batches = map_ordered(lambda batch: np.stack([prepare(file) for file in batch]), files, BATCH)
        return sum(len(session.run(["probabilities"], {"images": batch})[0].argmax(1)) for batch in batches)

    return run


def ultralytics(bundle: Path) -> Run:
    """Build yolo11n-cls and predict as its CLI does."""
    from ultralytics import YOLO

    model = YOLO("yolo11n-cls.yaml", task="classify", verbose=False)
    return lambda files: sum(1 for _ in model.predict(files, imgsz=SIZE, stream=True, verbose=False, save=False))


def ours(precision: str) -> Callable[[Path], Run]:
    """Load the bundle in one precision."""

    def make(bundle: Path) -> Run:
        from googlenet import load

        classifier = load(bundle, precision)
        return lambda files: sum(bool(answer.label) for answer in classifier.predict_many(files))

    return make


def decoding(bundle: Path) -> Run:
    """Decode, resize and crop only."""
    from googlenet import load
    from googlenet.inference.classifier import BATCH as OURS
    from googlenet.parallel import in_batches

    prepare = load(bundle, "fp32").preprocess
    return lambda files: sum(map(len, in_batches(prepare, files, OURS)))


def inferring(precision: str) -> Callable[[Path], Run]:
    """Compute only, on images that were decoded before."""

    def make(bundle: Path) -> Run:
        from googlenet import bundle as bundles
        from googlenet.inference.classifier import BATCH as OURS
        from googlenet.inference.engine import Engine
        from googlenet.parallel import cores, map_ordered

        engine = Engine(bundles.read(bundle), precision)
        batch = np.random.default_rng(0).integers(0, 256, (OURS, SIZE, SIZE, 3), dtype=np.uint8)

        def work(some: list[str]) -> int:
            return len(engine.probabilities(batch[: len(some)], cores()))

        return lambda files: sum(map_ordered(work, files, OURS))

    return make


PRECISIONS = ("fp32", "bf16", "int8")
ENTRANTS: dict[str, Callable[[Path], Run]] = {
    "torchvision": torchvision_dataloader,
    "ONNX Runtime": onnx_runtime,
    **({"Ultralytics yolo11n-cls": ultralytics} if find_spec("ultralytics") else {}),
    **{f"ours {precision}": ours(precision) for precision in PRECISIONS},
    "decoding alone": decoding,
    **{f"inference alone {precision}": inferring(precision) for precision in PRECISIONS},
}


def make_bundle(path: Path, images: list[str]) -> Path:
    """Write a network of 1000 classes with random weights, quantised with the images."""
    import torch

    from googlenet import bundle as bundles
    from googlenet import create, load
    from googlenet.card import ModelCard
    from googlenet.exporting.bundles import write_bundle
    from googlenet.exporting.quantization import in_8_bits
    from googlenet.models.spec import to_json

    torch.manual_seed(0)
    network = create("googlenet_bn", num_classes=CLASSES)
    names = tuple(f"class {number}" for number in range(CLASSES))
    card = ModelCard(network.network.name, to_json(network.network), names, network.network.preprocessing(SIZE, 0.875))
    bundle = write_bundle(path, network, card, np.zeros((1, SIZE, SIZE, 3), np.uint8))
    prepare = load(path, "fp32").preprocess
    files = in_8_bits(bundle, [prepare(file) for file in images])
    bundles.write(path, bundle.card, {name: bundle.read(name) for name in bundle.card.files} | files)
    return path


def mosaics(photos: list[str], folder: Path, megapixels: float, count: int = 16) -> list[str]:
    """Write images of 4 to 3, each made of many of the photographs."""
    side = round((megapixels * 1e6 / 12) ** 0.5)
    made, tile = [], 500
    random = np.random.default_rng(0)
    for number in range(count):
        whole = Image.new("RGB", (4 * side, 3 * side))
        for left, top in itertools.product(range(0, whole.width, tile), range(0, whole.height, tile)):
            with Image.open(photos[random.integers(len(photos))]) as photo:
                whole.paste(photo.convert("RGB").resize((tile, tile)), (left, top))
        made.append(str(folder / f"{number}.jpg"))
        whole.save(made[-1], quality=90)
    return made


def in_rounds(entrant: str, bundle: Path, images: list[str]) -> tuple[Round, None]:
    """Build one of them; a round is one pass over all images."""
    run = ENTRANTS[entrant](bundle)
    run(images[:WARM])

    def do_round() -> float:
        begun = time.perf_counter()
        done = run(images)
        taken = time.perf_counter() - begun
        if done != len(images):
            raise SystemExit(f"{entrant} answered {done} of {len(images)} images")
        return done / taken

    return do_round, None


def measure(bundle: Path, images: list[str], rounds: int) -> dict[str, list[float]]:
    """Run all in turns."""
    speeds: dict[str, list[float]] = {entrant: [] for entrant in ENTRANTS}
    with ExitStack() as stack:
        runners = {e: stack.enter_context(Runner(in_rounds, e, bundle, images)) for e in ENTRANTS}
        for number in range(rounds):
            for entrant, runner in runners.items():
                speeds[entrant].append(runner.round())
                print(f"round {number + 1}: {entrant} {speeds[entrant][-1]:.1f} images/s", file=sys.stderr)
    return speeds


def table(speeds: dict[str, list[float]]) -> Iterable[str]:
    """Return medians, as multiples of torchvision's and shares of the limit."""
    middle = {entrant: statistics.median(found) for entrant, found in speeds.items()}
    for entrant, found in speeds.items():
        ratios = [mine / theirs for mine, theirs in zip(found, speeds["torchvision"], strict=True)]
        line = f"{entrant:<24} {middle[entrant]:8.1f} images/s   {statistics.median(ratios):6.2f}×"
        line += f" ({min(ratios):.2f} to {max(ratios):.2f})"
        if entrant.startswith("ours"):
            precision = entrant.split()[1]
            limits = zip(found, speeds["decoding alone"], speeds[f"inference alone {precision}"], strict=True)
            shares = [speed * (1 / decode + 1 / infer) for speed, decode, infer in limits]
            line += f"   {statistics.median(shares):.0%} of 1/(1/decode + 1/infer)"
        yield line


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="IMAGES")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--megapixels", type=float)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    photos = sorted(str(path) for path in given.folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder, "bundle"), photos)
        some = mosaics(photos, Path(folder), given.megapixels) if given.megapixels else photos
        images = list(itertools.islice(itertools.cycle(some), given.images))
        speeds = measure(bundle, images, given.rounds)
    from googlenet.inference.engine import processor

    if given.json:
        print(json.dumps({"processor": processor(), "images": len(images), "speeds": speeds}, indent=2))
        return
    print(f"{processor()}, {len(images)} images a round; medians of {given.rounds} rounds")
    print("\n".join(table(speeds)))


if __name__ == "__main__":
    main()
