"""Programs that measure. Each prints a table and writes JSON, plots, videos and a page: `python -m benchmarks.NAME`."""
