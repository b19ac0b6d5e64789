"""``googlenet convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("convert", short_help="Turn weights of other projects into a run, or a run into such weights.")(convert)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A .pth, .pt, .bin, .safetensors, .caffemodel, .onnx or .pb file, a folder of timm or the "
            "Hugging Face Hub, hf:OWNER/NAME; with --to, a run or bundle."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the new run; with --to, what to write.")],
    network: Annotated[str | None, typer.Option(help="The network of the zoo whose weights these are.")] = None,
    classes: Annotated[Path | None, typer.Option(help="Text file with one class a line, in their order.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the pictures the network sees, in pixels; unless told, the source's.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch hf:OWNER/NAME over the network.")] = False,
    to: Annotated[
        Literal["torchvision", "timm"] | None,
        typer.Option(help="Outwards: a state dict for torchvision (.pth, .safetensors) or a folder for timm."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet convert googlenet.pth --network googlenet_torchvision --out runs/theirs

    Turn weights of other projects into a run that predict, evaluate and verify read.

    The way out: googlenet convert runs/flowers --to timm --out flowers_timm

    No code of a source is run: a pickle that holds more than tensors is refused.
    """
    if to is None:
        _inwards(source, out, network, classes, image_size, download, as_json)
        return
    inwards = {"--network": network, "--classes": classes, "--image-size": image_size, "--download": download or None}
    given = [option for option, value in inwards.items() if value is not None]
    if given:
        raise typer.BadParameter(f"--to takes what the run is; leave out {', '.join(given)}")
    _outwards(source, out, to, as_json)


def _inwards(
    source: str, out: Path, network: str | None, classes: Path | None, size: int | None, download: bool, as_json: bool
) -> None:
    if network is None:
        raise typer.BadParameter(
            "say whose weights these are with --network (a name of the zoo), or with --to what a run is to become"
        )
    from googlenet.exchange import check
    from googlenet.extras import TRAINING, require

    require("train", *TRAINING)
    check.check_network(network, size)
    check.check_free(out)
    check.check_source(source, download)
    import googlenet
    from googlenet.cli.output import say, show_json
    from googlenet.stages import stage

    names = None if classes is None else check.read_class_names(classes)
    with stage("loading PyTorch"):
        convert = googlenet.convert
    with stage(f"converting {source}"):
        bundle = convert(source, out, network=network, class_names=names, image_size=size, download=download)
    card, rule = bundle.card, bundle.card.preprocessing
    if as_json:
        show_json({
            "bundle": str(bundle.path), "network": card.name, "layout": card.data["layout"],
            "sha256": card.data["sha256"],
            "classes": list(card.class_names), "size": rule.size, "crop_fraction": rule.crop_fraction,
            "mean": list(rule.mean), "std": list(rule.std), "channel_order": rule.channel_order,
        })  # fmt: skip
        return
    say(f"{card.name} with {len(card.class_names)} classes ({card.class_names[0]}, …), from weights of "
        f"{card.data['layout']}: every tensor has its place")  # fmt: skip
    kind = "BGR" if rule.channel_order == "BGR" else rule.kind
    say(f"input:  {kind} {rule.size}×{rule.size}, crop {rule.crop_fraction:g}, "
        f"mean {_numbers(rule.mean)}, std {_numbers(rule.std)}")  # fmt: skip
    say(f"bundle: {bundle.path}")
    say(f"next:   googlenet predict {out} PICTURE…      googlenet evaluate {out} DATA --split all")


def _outwards(run: str, out: Path, layout: str, as_json: bool) -> None:
    from googlenet import bundle as bundles
    from googlenet.exchange import check
    from googlenet.extras import TRAINING, require

    require("train", *TRAINING)
    bundles.read(run)
    check.check_weights_file(out, layout)
    from googlenet.cli.output import say, show_json
    from googlenet.stages import stage

    with stage("loading PyTorch"):
        from googlenet.exchange.outwards import export_weights
    with stage(f"converting {run}"):
        written = export_weights(run, out, layout)
    if as_json:
        show_json({"path": str(written), "layout": layout})
        return
    rule = bundles.read(run).card.preprocessing
    say(f"{written}: weights of {run} as {layout} names them")
    if layout == "timm":
        say(f'load:   timm.create_model("local-dir:{written}", pretrained=True)')
    say(f"input:  {rule.size}×{rule.size}, mean {_numbers(rule.mean)}, std {_numbers(rule.std)}")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
