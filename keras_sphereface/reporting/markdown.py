"""Tables as Markdown."""

from collections.abc import Iterable, Sequence


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table that ends with a newline.

    Args:
        header: Names of the columns.
        rows: Cells of each row, as many as there are columns; they are written by `str`.

    Raises:
        ValueError: If a row has another number of cells.

    Example:
        >>> print(markdown_table(["loss", "accuracy"], [["softmax", 0.5]]), end="")
        | loss | accuracy |
        |---|---|
        | softmax | 0.5 |
    """
    lines = [header, *rows]
    for line in lines:
        if len(line) != len(header):
            raise ValueError(
                f"A row must have {len(header)} cells, as the header has. Received: {line!r}"
            )
    texts = [f"| {' | '.join(map(str, line))} |\n" for line in lines]
    texts.insert(1, "|---" * len(header) + "|\n")
    return "".join(texts)
