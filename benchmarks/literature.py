"""Numbers that others published for both protocols: quoted beside ours, never measured here."""

from __future__ import annotations

from benchmarks.trajectories import WAYPOINT_M
from lamplan.report.results import Quote

PAPER = "arXiv 2601.05230"
JEPA_WMS = "arXiv 2512.24497, tables 1 and 2"
FRANKA = "JEPA-WMs' Franka set, 64 windows, one run, no interval, no zero-action row; 0.03 m either way may be chance"
SCORED = "action labels; the same Franka set, mean of 3 seeds"
CONVERTED = "the error computed from the published score, 800 x (0.1 - error)"
DROID_ERRORS = (
    ("LAM noisy, high capacity", 0.10, f"{PAPER}, table S1", FRANKA),
    ("LAM sparse, high capacity", 0.13, f"{PAPER}, table S1", FRANKA),
    ("LAM discrete, high capacity", 0.14, f"{PAPER}, table S1", FRANKA),
    ("LAM noisy, 90 % DROID video", 0.06, f"{PAPER}, table S3", FRANKA),
    ("V-JEPA 2-AC", 0.15, f"{PAPER}, table S1", "action labels; probably the public checkpoint: retrained it reaches 0.046"),
    ("V-JEPA 2 + WM", 0.05, f"{PAPER}, table S1", "action labels; an upper bound there"),
)
DROID_SCORES = (("JEPA-WM (DINOv3-L)", 48.2), ("V-JEPA 2-AC, retrained", 42.9), ("DINO-WM (DINOv2-S)", 39.4))
SIMILAR = "the cost (latent or image distance) is not stated; 100 published windows, no interval"
OTHER_PLANS = "NWM's protocol on the published windows"
RECON_ERRORS = (
    ("LAM noisy, high capacity", 1.40, 0.40, f"{PAPER}, table S2", SIMILAR),
    ("LAM sparse, high capacity", 1.43, 0.42, f"{PAPER}, table S2", SIMILAR),
    ("LAM discrete, high capacity", 1.48, 0.42, f"{PAPER}, table S2", SIMILAR),
    ("NWM", 1.13, 0.35, "arXiv 2412.03572", f"action labels; {OTHER_PLANS}, image distance, 3 repeats"),
    ("NWM + NoMaD x32", 1.78, 0.48, "arXiv 2412.03572", f"action labels; {OTHER_PLANS}; ranks a policy's samples"),
    ("NoMaD", 1.93, 0.52, "arXiv 2412.03572", f"a policy, no planning; {OTHER_PLANS}"),
    ("GNM", 1.87, 0.73, "arXiv 2412.03572", f"a policy, no planning; {OTHER_PLANS}"),
)
BEST_ERROR_M, SCORE_PER_M = 0.1, 800.0


def action_score(error_m: float) -> float:
    """JEPA-WMs' action score of a mean displacement error: 80 for none, 0 from 0.1 m on."""
    return max(0.0, SCORE_PER_M * (BEST_ERROR_M - error_m))


def droid_quotes() -> tuple[Quote, ...]:
    """Mean displacement errors in metres, and the scores as which some were published."""
    quotes = []
    for name, error, source, caveat in DROID_ERRORS:
        quotes.append(Quote(name, "delta_xyz", "m", error, source, caveat))
        quotes.append(Quote(name, "action_score", "of 80", action_score(error), source, "the score computed from the published error"))
    for name, score in DROID_SCORES:
        quotes.append(Quote(name, "delta_xyz", "m", BEST_ERROR_M - score / SCORE_PER_M, JEPA_WMS, CONVERTED))
        quotes.append(Quote(name, "action_score", "of 80", score, JEPA_WMS, SCORED))
    return tuple(quotes)


def recon_quotes() -> tuple[Quote, ...]:
    """ATE and RPE in waypoints of 0.25 m, as published (by tables that do not name the unit), and in metres."""
    quotes = []
    for name, ate, rpe, source, caveat in RECON_ERRORS:
        for metric, value in (("ATE", ate), ("RPE", rpe)):
            quotes.append(Quote(name, metric, "m", value * WAYPOINT_M, source, caveat))
            quotes.append(Quote(name, f"{metric}_waypoints", "0.25 m", value, source, caveat))
    return tuple(sorted(quotes, key=lambda quote: quote.unit != "m"))
