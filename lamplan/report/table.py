"""The table of a benchmark, in Markdown: the same text for the terminal and for a README."""

from __future__ import annotations

from lamplan.report.results import Results, Row


def cell(row: Row) -> str:
    """`0.061 [0.055, 0.068]`: the mean and its 95 % interval."""
    return f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"


def task_grid(results: Results, task: str) -> tuple[list[str], list[list[str]]]:
    """Header and body of one task: a line for each name, a column for each metric; `n` is the number of samples."""
    rows = [row for row in results.rows if row.task == task]
    metrics = list(dict.fromkeys((row.metric, row.unit) for row in rows))
    found = {(row.name, row.metric): row for row in rows}
    header = ["", *(f"{metric} ({unit})" for metric, unit in metrics), "n"]
    body = []
    for name in dict.fromkeys(row.name for row in rows):
        mine = [found.get((name, metric)) for metric, _ in metrics]
        counts = "/".join(dict.fromkeys(str(row.n) for row in mine if row))
        body.append([name, *(cell(row) if row else "" for row in mine), counts])
    return header, body


def table(results: Results) -> str:
    """One Markdown table per task, aligned so that it also reads well in a terminal, and one of what is quoted."""
    tasks = []
    for task in dict.fromkeys(row.task for row in results.rows):
        header, body = task_grid(results, task)
        tasks.append(_aligned([[task, *header[1:]], *body]))
    if results.quoted:
        header, body = quote_grid(results)
        tasks.append(_aligned([header, *body]))
    return "\n\n".join(tasks)


def quote_grid(results: Results) -> tuple[list[str], list[list[str]]]:
    """Header and body of the published numbers: a line for each name, a column for each metric, then sources and caveats."""
    metrics = list(dict.fromkeys((quote.metric, quote.unit) for quote in results.quoted))
    found = {(quote.name, quote.metric): quote for quote in results.quoted}
    body = []
    for name in dict.fromkeys(quote.name for quote in results.quoted):
        mine = [found.get((name, metric)) for metric, _ in metrics]
        texts = ["; ".join(dict.fromkeys(getattr(quote, part) for quote in mine if quote)) for part in ("source", "caveat")]
        body.append([name, *(f"{quote.value:.3f}" if quote else "" for quote in mine), *texts])
    return ["quoted, not measured here", *(f"{metric} ({unit})" for metric, unit in metrics), "source", "caveat"], body


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["| " + " | ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])
