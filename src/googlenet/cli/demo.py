"""``googlenet demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from googlenet.data.image_set import ImageSet, LabelledImage
    from googlenet.inference.classifier import Prediction

SHEET_IMAGES = 32  # held-out images that are written as files and predicted
TABLE_ROWS = 10  # of them, shown on the terminal


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", short_help="Train a small classifier of handwritten digits.")(demo)


def demo(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory of the run; an earlier demo in it is replaced.")
    ] = Path("runs/demo"),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training images; by default 7, as in the recipe.")
    ] = None,
) -> None:
    """Example: googlenet demo

    Train a small classifier of handwritten digits from scratch, measure it and predict, in one or two minutes.

    The images are the 1,797 handwritten digits in scikit-learn: nothing is downloaded.
    """
    import time

    from googlenet.cli.output import say
    from googlenet.data.digits import DIGITS
    from googlenet.training import directory, train

    start = time.perf_counter()
    directory.check_free(out, overwrite=True)
    say(f"GoogLeNet on {DIGITS}: 1,797 handwritten digits, a fifth of them held out. The run directory is {out}.")
    train.train(DIGITS, out, recipe=DIGITS, epochs=epochs, overwrite=True)
    accuracy = _try_out(out)
    say(f"held-out accuracy {accuracy:.2%} in {time.perf_counter() - start:.0f} s")
    say(f"look at {out / 'learning_curve.png'}, {out / 'confusion.png'} and {out / 'predictions.png'}")
    _what_next(out)


def _try_out(out: Path) -> float:
    """Evaluate the run, predict files, and draw both; return the accuracy."""
    from googlenet.cli import look
    from googlenet.cli.evaluation import show
    from googlenet.data.digits import DIGITS
    from googlenet.data.opening import open_data
    from googlenet.evaluation import evaluate as evaluation
    from googlenet.evaluation.metrics import Metrics
    from googlenet.images.decode import decode
    from googlenet.inference.crops import load

    result = evaluation.evaluate(out, DIGITS)
    show(result)
    assert isinstance(result.metrics, Metrics)  # a digit is of one class
    metrics = result.metrics
    data, classifier = open_data(DIGITS), load(out)
    held_out = _spread(data.val, SHEET_IMAGES)
    files = _write(held_out, out / "images")
    answers = [classifier.predict(file) for file in files]
    _show(files, held_out, answers)
    sheet = [
        (decode(file), a.label, a.probability, data.class_names[item.label])
        for file, item, a in zip(files, held_out, answers, strict=True)
    ]

    def draw() -> None:
        from googlenet.evaluation.plots import draw_confusion, draw_predictions

        draw_confusion(metrics, out / "confusion.png")
        draw_predictions(sheet, out / "predictions.png")

    look.plot(draw, out / "confusion.png", asked=False)
    return metrics.top1


def _what_next(out: Path) -> None:
    from googlenet.cli.output import say, say_command

    say()
    say("Next, with a folder of your own that has one sub-folder of images per class:")
    for arguments in (
        "train photos/ --out runs/mine",
        "evaluate runs/mine photos/",
        "predict runs/mine new-image.jpg",
    ):
        say_command("", _command(), *arguments.split())
    say()
    say("Or serve the demo, and drop images on its page in a browser (pip install 'googlenet[serve]'):")
    say_command("", _command(), "serve", out)
    say()
    page = out / "exported" / "index.html"
    say(f"Or make a web page of it that needs no server, and open {page} in a browser:")
    say_command("", _command(), "export", out, "--to", "web", "--single-file")


def _command() -> str:
    """Return the command to type, with its path where the shell would not find it."""
    import shutil
    import sys

    beside = Path(sys.executable).with_name("googlenet")
    if shutil.which("googlenet") or not beside.exists():
        return "googlenet"
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)


def _spread(images: ImageSet, count: int) -> list[LabelledImage]:
    """Pick images at even distances."""
    return [images.items[i * len(images) // count] for i in range(count)]


def _write(images: list[LabelledImage], folder: Path) -> list[Path]:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for item in images:
        file = folder / f"{item.name.replace('/', '-')}.png"
        Image.fromarray(item.read()).save(file)
        files.append(file)
    return files


def _show(files: list[Path], images: list[LabelledImage], answers: list[Prediction]) -> None:
    from googlenet.cli.output import say, show_table

    stride = max(1, len(files) // TABLE_ROWS)
    some = list(zip(files, images, answers, strict=True))[::stride][:TABLE_ROWS]
    rows = [(file, item.label, a.label, f"{a.probability:.1%}") for file, item, a in some]
    columns = [("image", "left"), ("true", "right"), ("predicted", "right"), ("probability", "right")]
    say()
    say("Predictions from files, through the bundle:")
    show_table("", columns, rows)
