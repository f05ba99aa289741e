"""`report.html`: one self-contained page with tables, plots and videos, readable offline and fit to be mailed."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from lamplan.report.results import Results
from lamplan.report.table import quote_grid, task_grid

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .6rem 0 1.4rem; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #d8dee4; }
code, pre { font: 13px/1.4 ui-monospace, monospace; background: #f3f5f7; padding: .1rem .3rem; }
pre { padding: .6rem; white-space: pre-wrap; }
figure { margin: 0 1rem 1.4rem 0; display: inline-block; vertical-align: top; }
figcaption { font-size: 13px; color: #57606a; }
img, video { max-width: 100%; }
"""
MEDIA = {".png": "image/png", ".mp4": "video/mp4"}


def write_report(runs: Sequence[Results], path: Path, plots: Sequence[Path] = (), videos: Sequence[Path] = (), title: str = "") -> Path:
    """Writes one page for one or more runs: their commands, tables, then plots (PNG) and videos (MP4) held inside the page."""
    title = title or f"lamplan: {', '.join(run.benchmark for run in runs)}"
    body = [f"<h1>{escape(title)}</h1>", *(_run(run) for run in runs)]
    if videos:
        body += ["<h2>Videos</h2>", *(figure(video) for video in videos)]
    if plots:
        body += ["<h2>Plots</h2>", *(figure(plot) for plot in plots)]
    return write_page(path, title, body)


def write_page(path: Path, title: str, body: Sequence[str]) -> Path:
    """Writes a page of parts that are HTML already, replacing an older one only once the new one is complete."""
    page = (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, path)
    return path


def _run(run: Results) -> str:
    parts = [f"<h2>{escape(run.benchmark)}</h2>", f"<pre>{escape(run.command)}</pre>",
             f"<p>Commit <code>{escape(run.commit)}</code>, device {escape(run.device)}, seed {run.seed}. "
             "Means of n samples with bootstrap 95 % intervals.</p>"]
    if run.budget:
        stated = "; ".join(f"{key}: {value}" for key, value in run.budget.items())
        parts.append(f"<p>Budget: {escape(stated)}.</p>")
    for task in dict.fromkeys(row.task for row in run.rows):
        parts.append(f"<h3>{escape(task)}</h3>\n{grid(*task_grid(run, task))}")
    if run.quoted:
        parts.append(f"<h3>Published, not measured here</h3>\n{grid(*quote_grid(run))}")
    return "\n".join(parts)


def grid(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table; without a header where that is empty."""
    lines = ["<tr>" + "".join(f"<td>{escape(word)}</td>" for word in line) + "</tr>" for line in body]
    head = "<tr>" + "".join(f"<th>{escape(word)}</th>" for word in header) + "</tr>" if header else ""
    return f"<table>{head}\n" + "\n".join(lines) + "\n</table>"


def figure(path: Path) -> str:
    """A picture (PNG) or video (MP4), held inside the page."""
    source = f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    caption = escape(path.stem.replace("_", " "))
    body = f'<img alt="{caption}" src="{source}">' if path.suffix == ".png" else f'<video controls loop muted src="{source}"></video>'
    return f"<figure>{body}<figcaption>{caption}</figcaption></figure>"
