"""``googlenet convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from googlenet.text import printable


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("convert", short_help="Turn weights of other projects into a run, or a run into such weights.")(convert)


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A .pth, .pth.tar, .pt, .bin, .ckpt, .safetensors, .npz, .caffemodel, .onnx, .pb or .index.json file, "
            "a folder of timm or the Hugging Face Hub, hf:OWNER/NAME; with --to, a run or bundle."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the new run; with --to, what to write.")],
    network: Annotated[str | None, typer.Option(help="The network of the zoo whose weights these are.")] = None,
    classes: Annotated[Path | None, typer.Option(help="Text file with one class a line, in their order.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Side of the images the network sees, in pixels; unless told, the source's.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Where in a checkpoint with several the weights lie: model_ema, state_dict, …")
    ] = None,
    transform_input: Annotated[
        Literal["yes", "no"] | None,
        typer.Option(help="Whether torchvision's module had it: yes where it began with weights=…, as published."),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch hf:OWNER/NAME over the network.")] = False,
    to: Annotated[
        Literal["torch", "torchvision", "timm"] | None,
        typer.Option(
            help="Outwards: weights for plain PyTorch, with a file that builds the network, or for torchvision "
            "(.pth, .safetensors), or a folder for timm."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Example: googlenet convert googlenet.pth --network googlenet_torchvision --out runs/theirs

    Turn weights of other projects into a run that predict, evaluate and verify read.

    The way out: googlenet convert runs/flowers --to torch --out flowers.pth

    No code of a source is run: a pickle that holds more than tensors is refused.
    """
    if to is None:
        transform = None if transform_input is None else transform_input == "yes"
        options = {"image_size": image_size, "download": download, "key": key, "transform_input": transform}
        _inwards(source, out, network, classes, options, as_json)
        return
    inwards = {"--network": network, "--classes": classes, "--image-size": image_size, "--download": download or None,
               "--key": key, "--transform-input": transform_input}  # fmt: skip
    given = [option for option, value in inwards.items() if value is not None]
    if given:
        raise typer.BadParameter(f"--to takes what the run is; leave out {', '.join(given)}")
    _outwards(source, out, to, as_json)


def _inwards(
    source: str, out: Path, network: str | None, classes: Path | None, options: dict[str, Any], as_json: bool
) -> None:
    if network is None:
        raise typer.BadParameter(
            "say whose weights these are with --network (a name of the zoo), or with --to what a run is to become"
        )
    from googlenet.extras import TRAINING, require

    require("train", *TRAINING)
    from googlenet.exchange import check
    from googlenet.models import zoo

    check.check_network(network, options["image_size"])
    check.check_free(out)
    check.check_source(source, options["download"])
    listed = None if classes is None else check.read_class_names(classes)
    names = None if listed is None else listed.names
    check.check_fits(source, zoo.find(network), options["key"])
    import googlenet
    from googlenet.cli.output import say, say_command, show_json, warn
    from googlenet.stages import stage

    with stage("loading PyTorch"):
        convert = googlenet.convert
    with stage(f"converting {source}"):
        bundle = convert(source, out, network=network, class_names=names, **options)
    if listed is not None and listed.encoding != "UTF-8":
        warn(f"{classes} was read as {listed.encoding}")
    for note in bundle.card.data["notes"]:
        warn(note)
    card, preprocessing = bundle.card, bundle.card.preprocessing
    if as_json:
        show_json({
            "bundle": str(bundle.path), "network": card.name, "layout": card.data["layout"],
            "sha256": card.data["sha256"], "place": card.data.get("place", ""), "notes": card.data["notes"],
            "classes": list(card.class_names), "size": preprocessing.size, "crop_fraction": preprocessing.crop_fraction,
            "mean": list(preprocessing.mean), "std": list(preprocessing.std),
            "channel_order": preprocessing.channel_order,
        })  # fmt: skip
        return
    where = f" ({printable(card.data['place'])})" if "place" in card.data else ""
    say(f"{card.name} with {len(card.class_names)} classes ({printable(card.class_names[0])}, …), from weights of "
        f"{card.data['layout']}{where}: every tensor has its place")  # fmt: skip
    kind = "BGR" if preprocessing.channel_order == "BGR" else preprocessing.kind
    say(f"input:  {kind} {preprocessing.size}×{preprocessing.size}, crop {preprocessing.crop_fraction:g}, "
        f"mean {_numbers(preprocessing.mean)}, std {_numbers(preprocessing.std)}")  # fmt: skip
    say(f"bundle: {bundle.path}")
    say_command("next:", "googlenet", "predict", out, "IMAGE")
    say_command("", "googlenet", "evaluate", out, "DATA", "--split", "all")


def _outwards(run: str, out: Path, layout: str, as_json: bool) -> None:
    from googlenet import bundle as bundles
    from googlenet.extras import TRAINING, require

    require("train", *TRAINING)
    from googlenet.exchange import check

    check.check_outwards(bundles.read(run).network, out, layout)
    from googlenet.cli.output import say, show_json
    from googlenet.stages import stage

    with stage("loading PyTorch"):
        from googlenet.exchange.program import loading
        from googlenet.exchange.state_dicts import export_weights
    with stage(f"converting {run}"):
        written = export_weights(run, out, layout)
    if as_json:
        show_json({"path": str(written), "layout": layout})
        return
    preprocessing = bundles.read(run).card.preprocessing
    say(f"{printable(str(written))}: weights of {printable(run)} as {layout} names them")
    if layout == "torch":
        program = written.with_suffix(".py")
        say(f'build:  network = runpy.run_path({program.name!a})["build"]()      # needs torch, not this project')
        say(f"load:   network.load_state_dict({loading(written.name)})")
    if layout == "timm":
        say(f'load:   timm.create_model("local-dir:{written}", pretrained=True)')
    say(
        f"input:  {preprocessing.size}×{preprocessing.size}, mean {_numbers(preprocessing.mean)}, "
        f"std {_numbers(preprocessing.std)}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
