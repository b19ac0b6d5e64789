"""Options of DATA that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

FollowLinks = Annotated[
    bool,
    typer.Option("--follow-links", help="Follow links that lead out of a folder, or to folders."),
]
PathColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="The column of a list that names the images, if it is not 'path'.")
]
LabelColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="The column of a list that names the classes, if it is not 'label'.")
]
MultiLabel = Annotated[
    bool,
    typer.Option("--multi-label", help="An image of a list may have several labels, or none."),
]
