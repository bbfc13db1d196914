"""The numbers of an identification in words: a summary for the terminal, and report.html."""

from collections.abc import Sequence

from keras_sphereface.evaluation.report import TOO_FEW, percent
from keras_sphereface.reporting import html
from keras_sphereface.reporting.html import Block, Heading, ImageBlock, Paragraph, Table, Warnings
from keras_sphereface.version import __version__

TITLES = {
    "closed-set": "Closed-set identification",
    "open-set": "Open-set identification",
    "distractors": "Identification among distractors",
}
EXPLANATIONS = {
    "closed-set": "Everyone who is looked up is in the gallery. Rank k: the share of images "
    "whose person is among the k likest people of the gallery; a tie counts against the image.",
    "open-set": "Strangers are looked up too. DIR at FAR: the share of images of known people "
    "whose person comes first, at or above the threshold where that share of the strangers "
    "raises an alarm. TPIR at FPIR asks that the person is in a list of candidates instead.",
    "distractors": "For each two images of a person one is put among the distractors and looked "
    "for with the other. TAR at FAR: all images against all distractors.",
}


def summary(command: str, metrics: dict) -> str:
    """The numbers of one system as lines of text, with what looks wrong said first."""
    lines = [f"WARNING: {doubt}" for doubt in metrics["doubts"]]
    header, rows = _rows(command, metrics)
    lines.append(f"{metrics['model']}: {_sizes(command, metrics)}")
    # A line for each measure, or, where there are several rows, for each number of distractors.
    table = [header, *rows] if command == "distractors" else zip(header, *rows, strict=True)
    return "\n".join([*lines, *_aligned(table)])


def _aligned(table):
    """Rows of cells as lines, the columns below each other."""
    table = list(table)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()


def report(command: str, results: Sequence[dict], png: bytes) -> str:
    """The report on all systems, as HTML; `png` shows their curves."""
    doubts = [f"{metrics['model']}: {doubt}" for metrics in results for doubt in metrics["doubts"]]
    sizes = {metrics["model"]: _sizes(command, metrics) for metrics in results}
    if len(set(sizes.values())) == 1:
        told = list(sizes.values())[:1]
    else:  # some images are missing for some of the systems
        told = [f"{model}: {text}" for model, text in sizes.items()]
    blocks: list[Block] = [Warnings(doubts), *map(Paragraph, told)]
    blocks += [
        _table(command, results),
        ImageBlock(png, f"{TITLES[command]}: the curves of all systems"),
    ]
    if command == "open-set":
        blocks += _verification(results)
    blocks.append(Paragraph(f"Made with keras_sphereface {__version__}."))
    return html.render(TITLES[command], blocks)


def _table(command, results):
    """A row for each measure, a column for each system; of distractors a row for each number."""
    header, _ = _rows(command, results[0])
    if command == "distractors":
        rows = [[m["model"], *row] for m in results for row in _rows(command, m)[1]]
        return Table(["model", *header], rows, note=EXPLANATIONS[command])
    cells = [_rows(command, metrics)[1][0] for metrics in results]
    rows = [list(row) for row in zip(header, *cells, strict=True)]
    models = [metrics["model"] for metrics in results]
    return Table(["measure", *models], rows, note=EXPLANATIONS[command])


def _sizes(command, metrics):
    if command == "distractors":
        return f"{metrics['num_probes']:,} images of {metrics['num_identities']:,} people"
    sizes = (
        f"{metrics['num_probes']:,} images looked up among {metrics['num_gallery_people']:,} "
        f"people with {metrics['num_gallery']:,} images"
    )
    if command == "open-set":
        sizes += f"; {metrics['num_strangers']:,} of the images are of strangers"
    return sizes


def _rows(command, metrics):
    """Header, and the rows of one system."""
    if command == "closed-set":
        ranks = [name for name in metrics if name.startswith("rank_")]
        return [name.replace("_", " ") for name in ranks], [[percent(metrics[n]) for n in ranks]]
    if command == "open-set":
        header, row = ["rank 1 of known people"], [percent(metrics["rank_1"])]
        for far, rate in metrics["dir_at_far"].items():
            header.append(f"DIR at FAR {far}")
            row.append(_rate(rate))
        for far, rate in metrics["tpir_at_fpir"].items():
            header.append(f"TPIR at FPIR {far}, {metrics['candidates']} candidates")
            row.append(_rate(rate))
        return header, [row]
    header = ["distractors", "rank 1"]
    header += [f"TAR at FAR {far}" for far in metrics["distractors"][0]["tar_at_far"]]
    return header, [
        [
            f"{size['num_distractors']:,}",
            percent(size["rank_1"]),
            *(_rate(tar) for tar in size["tar_at_far"].values()),
        ]
        for size in metrics["distractors"]
    ]


def _rate(rate):
    return "too few" if rate is None else percent(rate)


def _verification(results):
    """All images that are looked up against all of the gallery."""
    known = [metrics for metrics in results if metrics["verification"]]
    if not known:
        text = "Each image against each of the gallery would be too many comparisons to verify."
        return [Paragraph(text)]
    columns = [metrics["verification"] for metrics in known]
    rows = [
        ["mismatched pairs", *(f"{of['num_mismatched']:,}" for of in columns)],
        ["AUC", *(f"{of['auc']:.4f}" for of in columns)],
        ["EER", *(percent(of["eer"]) for of in columns)],
    ]
    carried = [f for f, tar in columns[0]["tar_at_far"].items() if tar is not None]
    for far in carried:
        rates = (of["tar_at_far"][far] for of in columns)
        rows.append([f"TAR at FAR {far}", *map(_rate, rates)])
    title = "Verification: each image against each of the gallery"
    header = ["measure", *(metrics["model"] for metrics in known)]
    return [Heading(title), Table(header, rows, f"Smaller false accept rates have {TOO_FEW}.")]
