"""Closed loop in a world with a closed form: reaching, sub-goals, the forbidden box, the oracle."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks import filming
from benchmarks.arm_tasks import TASKS, ArmTask, run_task, simulators
from benchmarks.closed_loop import ClosedLoop, Setting, Track
from benchmarks.filming import film_track, film_windows
from benchmarks.forbidden_box import Boxes
from benchmarks.navigation import add_rows
from benchmarks.oracle import Oracle
from benchmarks.planned import Planned
from benchmarks.policies import Constant, Policy, Random
from benchmarks.subgoals import Subgoals
from lamplan.planner import Planner
from lamplan.report import Results
from lamplan.report.panels import side_by_side
from lamplan.search import CEM
from tests.benchmarks.fakes import PANDA, PointDynamics, PointWorld, Straight, encode, picture

SETTING = Setting(plans=4, execute=3, patience=4, stops=False)
BOXED = Setting(plans=6, execute=3, patience=6, stops=False, box_half_m=0.05)
SEEDS = range(1_000_000, 1_000_003)


def planner() -> Policy:
    return Planned("lam_in_domain", Planner(PointDynamics(), PANDA, CEM(128, 5, 10, 3)), None, 3)


def drive(policy: Policy, setting: Setting) -> tuple[list[Track], Boxes | None]:
    return ClosedLoop([PointWorld(), PointWorld()], PANDA.camera, encode, setting).run(policy, SEEDS)


@pytest.mark.parametrize("make", [planner, Straight, lambda: Oracle(encode, PANDA, CEM(64, 4, 8, 3), None, 3)])
def test_who_can_plan_reaches_the_goal(make: Callable[[], Policy]) -> None:
    tracks, boxes = drive(make(), SETTING)
    assert boxes is None
    assert len(tracks) == 3 and all(track.success and track.distance_m[-1] < 0.05 for track in tracks)
    assert all(len(track.states) == len(track.frames) == 13 and len(track.goals) == 12 for track in tracks)


def test_who_cannot_does_not() -> None:
    for policy in (Constant("zero", np.zeros(7), 3), Random(PANDA, 3)):
        tracks, _ = drive(policy, SETTING)
        assert not any(track.success for track in tracks)


def test_equal_seeds_give_equal_episodes() -> None:
    first, second = drive(planner(), SETTING)[0], drive(planner(), SETTING)[0]
    np.testing.assert_array_equal(first[0].states, second[0].states)


def test_an_episode_stops_at_success_only_when_the_setting_says_so() -> None:
    tracks, _ = drive(Straight(), Setting(plans=4, execute=2, patience=4, stops=True))
    assert all(track.success and len(track.goals) == 4 for track in tracks)


def test_the_planner_goes_around_the_box_and_regression_goes_through() -> None:
    around, boxes = drive(planner(), BOXED)
    assert boxes is not None
    paths = [np.array(track.states)[:, :3] for track in around]
    assert not boxes.crossed(paths).any()
    assert all(track.distance_m[-1] < 0.1 for track in around)
    through, boxes = drive(Straight(), BOXED)
    assert boxes is not None
    assert boxes.crossed([np.array(track.states)[:, :3] for track in through]).all()


def test_box_knows_a_path_that_jumps_over_it() -> None:
    boxes = Boxes.between(np.array([[0.0, 0.0, 0.0]] * 2), np.array([[0.4, 0.0, 0.0]] * 2), 0.05)
    across = np.array([[0.0, 0.0, 0.0], [0.4, 0.0, 0.0]])
    beside = np.array([[0.0, 0.0, 0.0], [0.2, 0.1, 0.0], [0.4, 0.0, 0.0]])
    assert boxes.crossed([across, beside]).tolist() == [True, False]


def test_subgoals_advance_when_seen_or_when_patience_ends() -> None:
    images = np.array([0.0, 1.0, 2.0])[:, None, None]  # features (K, 1, 1)
    walk = Subgoals(images, patience=3)
    assert walk.update(np.array([[-1.0]])) == 0
    assert walk.update(np.array([[-0.2]])) == 1  # near enough to sub-goal 0
    assert [walk.update(np.array([[0.2]])) for _ in range(3)] == [1, 1, 2]  # stuck, so the next one after 3 steps
    assert [walk.update(np.array([[2.0]])) for _ in range(5)] == [2] * 5  # the last one is kept


def test_rows_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "forbidden_box", ArmTask("reach", BOXED))
    results = Results("manipulation", "", "", "cpu", 0)
    made: list[PointWorld] = []

    def make(_: str) -> PointWorld:
        made.append(PointWorld())
        return made[-1]

    policies: list[Policy] = [planner(), Straight()]
    with simulators(make, TASKS["forbidden_box"], 2) as worlds:
        seeds = {"lam_in_domain": SEEDS, "regression": SEEDS[:1]}
        run_task("forbidden_box", policies, worlds, seeds, PANDA.camera, encode, results)
    assert all(world.closed for world in made)
    entered = {row.name: row for row in results.find("forbidden_box", "box_entered")}
    assert entered["lam_in_domain"].value == 0.0 and entered["regression"].value == 1.0 and entered["regression"].n == 1
    assert {"final_distance", "nearer", "success", "within_5cm", "nearer_and_outside"} <= {row.metric for row in results.rows}


def test_drives_are_weighed_by_their_paths() -> None:
    there = Track([np.zeros(3), np.array([0.0, 3.0, 0.0]), np.array([4.0, 3.0, 0.0])], distance_m=[5.0, 4.0, 0.1], success=True,
                  shortest_path_m=5.0)
    lost = Track([np.zeros(3), np.array([1.0, 0.0, 0.0])], distance_m=[5.0, 4.95], collided=True, shortest_path_m=5.0)
    results = Results("navigation", "", "", "cpu", 0)
    add_rows(results, "lam", [there, lost])
    values = {row.metric: row.value for row in results.rows}
    assert values["SPL"] == pytest.approx((5 / 7 + 0) / 2)
    assert values["success"] == values["collision"] == values["nearer"] == 0.5


def test_an_episode_is_filmed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tracks, _ = drive(planner(), Setting(plans=1, execute=2, patience=1, stops=False))
    assert film_track(tracks[0], encode, tmp_path / "reach.mp4", "reach").stat().st_size > 500


def test_predictions_are_filmed_decoded_where_there_is_a_decoder(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    tracks, _ = drive(planner(), Setting(plans=1, execute=2, patience=1, stops=False))
    captions: list[list[str]] = []
    monkeypatch.setattr(filming, "side_by_side", lambda panels, footer: (captions.append(list(panels)), side_by_side(panels, footer))[1])

    def decode(features):  # type: ignore[no-untyped-def]
        return np.stack([picture(one[0]) for one in features])

    film_track(tracks[0], encode, tmp_path / "reach.mp4", "reach", decode)
    assert captions[0] == ["observed", "goal", "predicted", "predicted (nearest frame)"]
    windows = np.stack([tracks[0].frames[:2]])
    film_windows(windows, np.stack(tracks[0].predicted[:1]), encode, tmp_path / "open.mp4", "open", decode)
    assert captions[-1] == ["start", "goal", "predicted", "predicted (nearest frame)"]
