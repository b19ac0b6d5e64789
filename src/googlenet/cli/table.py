"""``googlenet table``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from googlenet.models.analysis import Analysis, Row
    from googlenet.models.papers import Printed

MAX_COLUMNS = 8  # of widths; more are written into one column


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("table", short_help="Print Table 1 of a network.")(table)


def table(
    network: Annotated[str, typer.Argument(help="A network of the zoo.")] = "googlenet",
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of the input images in pixels; by default the network's own."),
    ] = None,
    naive: Annotated[bool, typer.Option("--naive", help="Show what 1×1 reductions save, term by term.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Example: googlenet table googlenet --image-size 224

    Print Table 1 of a network: sizes, widths, parameters and multiply-accumulates of every layer.

    Figures printed in the paper stand beside the exact ones; where they differ, the reason is given.
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other: choose one")
    from googlenet.cli.output import show_csv, show_json
    from googlenet.models import papers, zoo
    from googlenet.models.analysis import analyse

    if naive:
        _naive(as_json, as_csv)
        return
    analysis = analyse(zoo.find(network), image_size)
    printed = papers.find(analysis.network, analysis.size)
    rows = [_row(row, analysis, printed) for row in analysis.rows] + [_softmax(analysis, printed)]
    if as_json:
        show_json(_document(analysis, rows, printed))
    elif as_csv:
        show_csv(rows)
    else:
        _show(analysis, rows, printed)


def _row(row: Row, analysis: Analysis, printed: Printed) -> dict[str, Any]:
    channels, height, width = row.cost.shape
    line: dict[str, Any] = {
        "row": row.name, "kind": row.kind, "kernel": row.kernel, "stride": row.stride,
        "output": f"{height}x{width}x{channels}", "depth": row.cost.depth,
        **dict.fromkeys(_columns(analysis)), **_widths(row),
    }  # fmt: skip
    line |= {f"paper_{column}": printed.rows.get(row.name, {}).get(column) for column in printed.columns}
    line |= {"weights": row.cost.weights, "params": row.cost.parameters, "macs": row.cost.macs}
    return line


def _softmax(analysis: Analysis, printed: Printed) -> dict[str, Any]:
    """Return the last row of Table 1, which has no parameters: the network outputs logits, the bundle probabilities."""
    line = _row(analysis.rows[-1], analysis, printed)
    free = dict.fromkeys(line) | {"row": "softmax", "kind": "softmax", "output": line["output"]}
    return free | {"depth": 0, "weights": 0, "params": 0, "macs": 0}


def _widths(row: Row) -> dict[str, Any]:
    """Return the widths in the paper's columns: the last convolution of a branch, and its reductions."""
    columns: dict[str, Any] = {}
    for branch, widths in row.widths.items():
        column = f"c{branch}" if branch[0].isdigit() else branch
        if len(widths) > 1:
            columns[f"{column}_reduce"] = widths[0] if len(widths) == 2 else "+".join(map(str, widths[:-1]))
        if widths:
            columns[column] = widths[-1]
    return columns


def _columns(analysis: Analysis) -> list[str]:
    every = [column for row in analysis.rows for column in _widths(row)]
    branches = list(dict.fromkeys(column.removesuffix("_reduce") for column in every))
    ordered = sorted(branches, key=lambda column: (not column.startswith("c"), column))
    return [name for branch in ordered for name in (f"{branch}_reduce", branch) if name in every]


def _document(analysis: Analysis, rows: list[dict[str, Any]], printed: Printed) -> dict[str, Any]:
    document: dict[str, Any] = {
        "network": analysis.network.name, "paper": analysis.network.paper,
        "differences": list(analysis.network.differences), "size": analysis.size, "rows": rows,
        "aux": [{"row": r.name, "params": r.cost.parameters, "macs": r.cost.macs} for r in analysis.aux],
        "totals": {
            "weights": analysis.weights, "params": analysis.parameters, "macs": analysis.macs,
            "training_params": analysis.training_parameters, "depth": analysis.depth,
            "depth_with_pooling": analysis.depth_with_pooling,
        },
    }  # fmt: skip
    if printed.total:
        document["paper_total"] = printed.total
    if printed.remarks():
        document["errata"] = printed.remarks()
    return document


def _show(analysis: Analysis, rows: list[dict[str, Any]], printed: Printed) -> None:
    from googlenet.cli.output import say, show_table

    network = analysis.network
    headings = [("type", "left"), *((name, "right") for name in ("kernel/\nstride", "output", "depth"))]
    columns = _columns(analysis)
    if len(columns) > MAX_COLUMNS:
        headings.append(("widths", "left"))
    else:
        headings += [(_heading(column), "right") for column in columns]
    headings += [("params", "right"), ("MACs", "right")]
    headings += [(f"paper's\n{column}", "right") for column in printed.columns]
    say(f"{network.name} at {analysis.size}×{analysis.size}: {network.paper}")
    show_table("", headings, [_cells(row, analysis, printed) for row in rows])
    say(f"total: {analysis.parameters:,} parameters ({analysis.weights:,} weights), {analysis.macs:,} MACs; "
        f"depth {analysis.depth}, {analysis.depth_with_pooling} with pooling")  # fmt: skip
    if printed.total:
        say(f"the paper says: {printed.total}")
    heads = ", ".join(f"{row.name} {row.cost.parameters:,}" for row in analysis.aux)
    say(f"in training: {analysis.training_parameters:,} parameters; auxiliary heads: {heads or 'none'}")
    _list("differences from the paper", network.differences)
    _list("the paper's printed figures", printed.remarks())


def _heading(column: str) -> str:
    name, reduce = column.removesuffix("_reduce"), column.endswith("_reduce")
    name = (
        f"#{name[1:].replace('x', '×').replace('_', ', ')}"
        if name[0] == "c" and name[1].isdigit()
        else name.replace("_", "\n")
    )
    return f"{name}\nreduce" if reduce else name


def _cells(row: dict[str, Any], analysis: Analysis, printed: Printed) -> list[Any]:
    kernel = f"{row['kernel']}×{row['kernel']}/{row['stride']}" if row["kernel"] else ""
    *times, kind = row["kind"].split(" ", 1) if "×" in row["kind"] else [row["kind"]]
    name = " ".join([*times, row["row"].replace("_", " ")]) if kind in ("inception", "residual") else kind
    widths = {column: row[column] for column in _columns(analysis)}
    cells = [name, kernel, row["output"].replace("x", "×"), row["depth"],
             *(widths.values() if len(widths) <= MAX_COLUMNS else [_in_words(widths)]),
             f"{row['params']:,}" if row["params"] else "", f"{row['macs']:,}" if row["macs"] else ""]  # fmt: skip
    return [*cells, *(row[f"paper_{column}"] for column in printed.columns)]


def _in_words(widths: dict[str, Any]) -> str:
    """Write the branches of a module on one line, for networks with more branches than columns fit."""
    given = {column: width for column, width in widths.items() if width is not None and not column.endswith("_reduce")}
    branches = {column: (widths.get(f"{column}_reduce"), width) for column, width in given.items()}
    return "  ".join(
        f"{_heading(column)}: {' '.join(str(width) for width in both if width)}".replace("+", " ").replace("\n", " ")
        for column, both in branches.items()
    )


def _list(title: str, items: Any) -> None:
    from googlenet.cli.output import say

    if items:
        say()
        say(f"{title}:")
    for item in items:
        say(f"  · {item}")


def _naive(as_json: bool, as_csv: bool) -> None:
    from googlenet.cli.output import say, show_csv, show_json, show_table
    from googlenet.models.table1 import LECTURE_SLIDE, naive_against_reduced

    modules = naive_against_reduced()
    rows = [
        {"module": module.title, "branch": term.branch, "arithmetic": term.arithmetic, "macs": term.macs}
        for module in modules
        for term in module.terms
    ]
    if as_csv:
        show_csv(rows)
        return
    if as_json:
        show_json([
            {"module": m.title, "macs": m.macs, "weights": m.weights, "channels": m.channels,
             "terms": [row for row in rows if row["module"] == m.title]}
            for m in modules
        ])  # fmt: skip
        return
    say("An inception module on 28×28×256 with the widths of (3b). Terms: height × width × outputs × kernel × inputs")
    for module in modules:
        lines = [(t.branch, t.arithmetic, f"{t.macs:,}") for t in module.terms]
        lines.append(("sum", f"{module.weights:,} weights, {module.channels} channels out", f"{module.macs:,}"))
        show_table(module.title, [("branch", "left"), ("arithmetic", "left"), ("MACs", "right")], lines)
    say(f"The reductions save {1 - modules[-1].macs / modules[0].macs:.0%} of the operations.")
    say(LECTURE_SLIDE)
