"""``export_weights``: the weights of a bundle as files that other projects load."""

from __future__ import annotations

from pathlib import Path

from googlenet import bundle as bundles
from googlenet.exchange.formats import check_export, find_format
from googlenet.extras import TRAINING, require
from googlenet.files import write_error, write_whole


def export_weights(run: str | Path, out: str | Path, to: str = "torch") -> Path:
    """Write the weights of a run or bundle for another project. Returns the path written.

    Args:
        run: a run of ``train``, or a bundle.
        out: the file to write, or for timm the folder. It must not exist yet.
        to: ``"torch"``: a state dict (.pth or .safetensors) of any network, and beside it a .py file of the same name
            that builds the network with PyTorch alone. ``"torchvision"``: a state dict for its module of that name.
            ``"timm"``: a folder for ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    Raises:
        BundleError: there is no bundle, or it is damaged.
        WeightsError: there is no such format, or the other project has no such network.
        RunError: ``out`` exists already or cannot be written.

    ::

        googlenet.export_weights("runs/flowers", "flowers.pth")
    """
    require("train", *TRAINING)
    bundle, path = bundles.read(run), Path(out)
    check_export(bundle.network, path, to)
    contents = find_format(to).write(bundle, path)
    folder = path.parent if path.name in contents else path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise write_error(path, error) from error
    return path
