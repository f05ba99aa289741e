"""The table of a benchmark, in Markdown: the same text for the terminal and for a README."""

from __future__ import annotations

from lamplan.report.results import Results, Row


def cell(row: Row) -> str:
    """`0.061 [0.055, 0.068]`: the mean and its 95 % interval."""
    return f"{row.value:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"


def task_grid(results: Results, task: str) -> tuple[list[str], list[list[str]]]:
    """Header and body of one task: a line for each name, a column for each metric; `n` is the number of episodes."""
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
    """One Markdown table per task, aligned so that it also reads well in a terminal."""
    return "\n\n".join(_task_table(results, task) for task in dict.fromkeys(row.task for row in results.rows))


def _task_table(results: Results, task: str) -> str:
    header, body = task_grid(results, task)
    lines = [[task, *header[1:]], *body]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = ["| " + " | ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) + " |" for line in lines]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])
