"""The numbers of an evaluation in words: a summary for the terminal, and report.html."""

from collections.abc import Mapping, Sequence

import pandas as pd

from keras_sphereface.reporting import html
from keras_sphereface.reporting.html import (
    Block,
    Details,
    Heading,
    ImageBlock,
    KeyNumbers,
    Paragraph,
    Table,
    Warnings,
)
from keras_sphereface.version import __version__

TOO_FEW = "too few mismatched pairs"
CAPTIONS = {
    "roc.png": "True accept rate over false accept rate, the latter on a log scale.",
    "det.png": "False rejects over false accepts, on normal-deviate scales: lower is better.",
    "similarities.png": "Scores of matched and mismatched pairs, with the mean threshold.",
    "angles.png": "Angles within and between people. The criterion of the paper asks that the "
    "largest within is smaller than the smallest between.",
    "false_accepts.png": "Different people taken for the same, the worst first.",
    "false_rejects.png": "The same person taken for different people, the worst first.",
}
CURVES = ("roc.png", "det.png", "similarities.png")
WORST = ("false_accepts.png", "false_rejects.png")


def percent(rate: float, digits: int = 2) -> str:
    """A rate as per cent."""
    return f"{100 * rate:.{digits}f} %"


def summary(metrics: dict) -> str:
    """The numbers as lines of text, with what looks wrong said first."""
    lines = [f"WARNING: {doubt}" for doubt in metrics["doubts"]]
    lines += [f"{metrics['model']} on {metrics['set']}: {metrics['protocol']}"]
    error = 100 * metrics["accuracy_standard_error"]
    per_fold = ", ".join(f"{100 * accuracy:.2f}" for accuracy in metrics["accuracy_per_fold"])
    lines += [
        f"pairs              {metrics['num_pairs']}",
        f"accuracy           {_accuracy(metrics)}, standard error {error:.2f} (folds: {per_fold})",
        "  by protocol      "
        + ", ".join(f"{name} {percent(a['accuracy_mean'])}" for name, a in _protocols(metrics)),
    ]
    lines += [
        f"  {variant['pairs']}: {_told(variant, percent)} of {variant['num_pairs']} pairs"
        for variant in metrics["variants"]
    ]
    tars = ", ".join(
        f"{far}: " + ("too few pairs" if tar is None else percent(tar))
        for far, tar in metrics["tar_at_far"].items()
    )
    lines += [
        _with_interval("AUC                ", metrics, "auc", _number),
        _with_interval("EER                ", metrics, "eer", percent),
        f"TAR at FAR         {tars}",
        f"criterion          {_criterion(metrics['criterion'])}",
    ]
    return "\n".join(lines)


def report(metrics: dict, images: Mapping[str, bytes], worst: Mapping[str, pd.DataFrame]) -> str:
    """The report of one system on one set of pairs, as HTML.

    Args:
        metrics: what stands in metrics.json.
        images: {file: PNG}.
        worst: {kind of error: rows of pairs.csv}, the worst first.
    """
    criterion = metrics["criterion"]
    blocks: list[Block] = [
        Paragraph(
            f"{metrics['model']} on the {metrics['num_pairs']:,} pairs of {metrics['set']}: "
            f"{metrics['num_matched']:,} matched, {metrics['num_mismatched']:,} mismatched, "
            f"{len(metrics['folds'])} folds."
        ),
        KeyNumbers(
            [
                ("accuracy", percent(metrics["accuracy_mean"]), _spread(metrics)),
                ("equal error rate", percent(metrics["eer"]), _between(metrics, "eer", percent)),
                ("AUC", _number(metrics["auc"]), _between(metrics, "auc", _number)),
                _best_far(metrics),
            ]
        ),
        Warnings(metrics["doubts"]),
        Heading("Accuracy"),
        Paragraph(f"Protocol {metrics['protocol']}."),
        _protocol_table(metrics),
        *_variant_table(metrics),
        Details("Accuracy and threshold of each fold", [_fold_table(metrics)]),
        *_missing(metrics),
        Heading("Accepting and rejecting"),
        _far_table(metrics),
        *_images(images, CURVES),
        Heading("The criterion of the paper"),
        Paragraph(_criterion(criterion)[:1].upper() + _criterion(criterion)[1:] + "."),
        *_images(images, ("angles.png",)),
        Heading("The worst errors"),
        *_worst(images, worst),
        Heading("How to read this"),
        Paragraph(_how_to_read(metrics)),
    ]
    return html.render(f"Face verification: {metrics['model']}", blocks)


def comparison(results: Sequence[dict], images: Mapping[str, bytes]) -> str:
    """The report on several systems or sets, as HTML.

    Args:
        results: what stands in each metrics.json.
        images: {set: PNG with the curves of all systems on it}.
    """
    carried = _carried(results)
    header = ["model", "set", "pairs", "accuracy, %", "EER, %", "AUC"]
    header += [f"TAR at FAR {far}, %" for far in carried]
    rows = [
        [
            metrics["model"],
            metrics["set"],
            f"{metrics['num_pairs']:,}",
            _accuracy(metrics).replace(" %", ""),
            f"{100 * metrics['eer']:.2f}",
            _number(metrics["auc"]),
            *(_rate(metrics["tar_at_far"][far]) for far in carried),
        ]
        for metrics in results
    ]
    names = list(results[0]["accuracy_by_protocol"])
    by_protocol = [
        [m["model"], m["set"], *(f"{100 * a['accuracy_mean']:.2f}" for _, a in _protocols(m))]
        for m in results
    ]
    doubts = [
        f"{metrics['model']} on {metrics['set']}: {doubt}"
        for metrics in results
        for doubt in metrics["doubts"]
    ]
    blocks: list[Block] = [
        Warnings(doubts),
        Table(header, rows, note=f"Protocol {results[0]['protocol']}."),
        Heading("Accuracy by protocol, %"),
        Table(["model", "set", *names], by_protocol),
    ]
    for name, png in images.items():
        blocks += [Heading(name), ImageBlock(png, f"ROC and DET curves on {name}")]
    return html.render("Face verification compared", blocks)


def _carried(results):
    """The false accept rates that the mismatched pairs of some set carry."""
    fars = results[0]["tar_at_far"]
    return [far for far in fars if any(m["tar_at_far"][far] is not None for m in results)]


def _rate(tar):
    return "too few pairs" if tar is None else f"{100 * tar:.2f}"


def _number(value):
    return f"{value:.4f}"


def _protocols(metrics):
    return metrics["accuracy_by_protocol"].items()


def _accuracy(metrics):
    mean, std = metrics["accuracy_mean"], metrics["accuracy_std"]
    return f"{100 * mean:.2f} % +- {100 * std:.2f}"


def _spread(metrics):
    std, error = (100 * metrics[f"accuracy_{name}"] for name in ("std", "standard_error"))
    return f"standard deviation of folds {std:.2f}, error of mean {error:.2f}"


def _between(metrics, name, shown):
    """The interval of a measure in words; empty if it was not computed."""
    if name not in metrics["intervals"]:
        return ""
    low, high = (shown(edge) for edge in metrics["intervals"][name])
    return f"95 %: {low.removesuffix(' %')} to {high}"


def _with_interval(label, metrics, name, shown):
    between = _between(metrics, name, shown)
    return label + shown(metrics[name]) + f" ({between})" * bool(between)


def _best_far(metrics):
    """The key number of the smallest false accept rate that the pairs carry."""
    carried = [(far, tar) for far, tar in metrics["tar_at_far"].items() if tar is not None]
    if not carried:
        return ("TAR at FAR", "none", TOO_FEW)
    far, tar = carried[-1]
    interval = metrics["intervals"].get("tar_at_far", {}).get(far)
    detail = "" if interval is None else f"95 %: {_rate(interval[0])} to {percent(interval[1])}"
    return (f"TAR at FAR {far}", percent(tar), detail)


def _protocol_table(metrics):
    rows = [
        [name, *(f"{100 * numbers[key]:.2f}" for key in numbers)]
        for name, numbers in _protocols(metrics)
    ]
    header = ["protocol", "accuracy, %", "standard deviation", "standard error"]
    return Table(header, rows, note="Mean over the folds; the threshold comes from the others.")


def _variant_table(metrics):
    rows = [
        [variant["pairs"], f"{variant['num_pairs']:,}", _told(variant, _rate)]
        for variant in metrics["variants"]
    ]
    if not rows:
        return []
    rows = [
        ["as above", f"{metrics['num_pairs']:,}", f"{100 * metrics['accuracy_mean']:.2f}"],
        *rows,
    ]
    return [Table(["which pairs", "pairs", "accuracy, %"], rows, caption="With other pairs")]


def _told(variant, shown):
    accuracy = variant["accuracy_mean"]
    return "cannot be told" if accuracy is None else shown(accuracy)


def _fold_table(metrics):
    columns = (metrics[name] for name in ("folds", "accuracy_per_fold", "thresholds"))
    rows = [
        [str(fold), f"{100 * accuracy:.2f}", f"{threshold:.4f}"]
        for fold, accuracy, threshold in zip(*columns, strict=True)
    ]
    return Table(["fold", "accuracy, %", f"threshold, {metrics['score_unit']}"], rows)


def _far_table(metrics):
    intervals = metrics["intervals"].get("tar_at_far", {})
    rows = []
    for far, tar in metrics["tar_at_far"].items():
        allowed = f"{float(far) * metrics['num_mismatched']:.3g}"
        if tar is None:
            rows.append([far, allowed, "", TOO_FEW, ""])
            continue
        low_high = intervals.get(far)
        between = "" if low_high is None else f"{_rate(low_high[0])} to {_rate(low_high[1])}"
        threshold = metrics["threshold_at_far"][far]
        shown = "none" if threshold is None else f"{threshold:.4f}"
        rows.append([far, allowed, _rate(tar), between, shown])
    return Table(
        ["FAR", "false accepts allowed", "TAR, %", "95 % interval", "threshold"],
        rows,
        note="True accept rate at a false accept rate. A rate that allows less than one false "
        "accept cannot be told from these pairs; with a few allowed the interval is wide.",
    )


def _criterion(criterion):
    angles = (
        f"the largest angle within is {criterion['largest_intra_class_angle']:.1f} degrees, the "
        f"smallest between {criterion['smallest_inter_class_angle']:.1f}"
    )
    held = "it holds" if criterion["holds"] else "it does not hold"
    if "share_of_people" not in criterion:
        return f"{held} for the pairs: {angles}"
    return (
        f"{held} for all {criterion['num_identities']} people: {angles}; it holds for "
        f"{percent(criterion['share_of_people'], 1)} of the "
        f"{criterion['num_people_with_several_images']} people with several images"
    )


def _images(images, names):
    return [
        ImageBlock(images[name], CAPTIONS[name], CAPTIONS[name]) for name in names if name in images
    ]


def _worst(images, worst):
    blocks = _images(images, WORST)
    for name, errors in worst.items():
        kind = name.replace("_", " ")
        if errors.empty:
            blocks.append(Paragraph(f"There are no {kind}."))
            continue
        rows = [
            [row.first, row.second, f"{row.score:.4f}", f"{row.threshold:.4f}"]
            for row in errors.itertuples()
        ]
        header = ["first", "second", "score", "threshold"]
        blocks.append(Details(f"The worst {len(rows)} {kind} by name", [Table(header, rows)]))
    return blocks


def _missing(metrics):
    if not metrics["missing"]:
        return []
    rows = [[key, reason] for key, reason in metrics["missing"].items()]
    told = f"{len(rows)} images that are missing"
    return [Details(told, [Table(["image", "reason"], rows)])]


def _how_to_read(metrics):
    told = (
        "The threshold for a fold is chosen on the other folds, never on the pairs that it judges. "
        "Intervals are those of a bootstrap: pairs are drawn anew "
        f"{metrics['intervals']['replicates']} times, matched and mismatched ones apart. Pairs "
        "that share a person are not independent, so the true spread is somewhat wider. "
    )
    if metrics["num_views"] == 1:
        told += "No embeddings of mirror images were given, so features are those of one view. "
    return told + f"Made with keras_sphereface {__version__}."
