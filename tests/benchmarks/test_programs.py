"""Both benchmarks from end to end in the real simulators, with a tiny untrained model: do they run and write what they say?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import budget, demo, labels, latency, manipulation, navigation
from benchmarks.contenders import Sources
from benchmarks.options import benchmark_parser
from lamplan.errors import InputError
from lamplan.report import Results
from tests.benchmarks.untrained import checkpoint_and_robot, in_camera_frame

ROWS = "zero,random,prior,lam_in_domain,oracle"


@pytest.mark.parametrize(("main", "robot", "options", "tasks"), [
    (manipulation.main, "panda", ["--iterations", "1", "--tasks", "forbidden_box"], {"open_loop", "forbidden_box"}),
    (navigation.main, "rover", ["--closed-iterations", "1"], {"recon", "arc", "closed_loop"}),
])
def test_a_benchmark_writes_results_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], None],
                                             robot: str, options: list[str], tasks: set[str]) -> None:
    home, out = checkpoint_and_robot(tmp_path, robot), tmp_path / "out"
    main(["--quick", "--episodes", "2", "--samples", "6", "--closed-samples", "6", "--closed-episodes", "1", "--rows", ROWS,
          "--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home), "--out", str(out), "--device", "cpu", *options])
    results = Results.read(out)
    assert {row.task for row in results.rows} == tasks
    assert {row.name for row in results.rows} == set(ROWS.split(","))
    assert "--quick" in results.command and results.seed == 1_000_000
    page = (out / "report.html").read_text()
    assert page.count("data:video/mp4") == len(list(out.glob("videos/*.mp4"))) > 0
    assert page.count("data:image/png") == len(list(out.glob("plots/*.png"))) > 0
    assert "delta_xyz (m)" in capsys.readouterr().out or robot == "rover"


@pytest.mark.parametrize("main", [manipulation.main, budget.main])
def test_the_simulated_arm_is_told_no_actions_of_another_frame(tmp_path: Path, main: Callable[[list[str]], None]) -> None:
    home = checkpoint_and_robot(tmp_path, "panda", in_camera_frame)
    with pytest.raises(InputError, match="moves in its base frame; the actions of panda are in the frame of its camera"):
        main(["--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home), "--out", str(tmp_path / "out"), "--device", "cpu"])


@pytest.mark.parametrize(("main", "robot"), [(manipulation.main, "panda"), (navigation.main, "rover")])
def test_a_row_asked_for_by_name_without_its_weights_is_a_mistake(tmp_path: Path, main: Callable[[list[str]], None], robot: str) -> None:
    home = checkpoint_and_robot(tmp_path, robot)
    given = ["--quick", "--episodes", "1", "--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home), "--device", "cpu",
             "--out", str(tmp_path / "out")]
    with pytest.raises(InputError, match="row lam_wild was asked for by name and cannot be made: no --checkpoint-wild given"):
        main([*given, "--rows", "zero,lam_wild"])
    assert not (tmp_path / "out" / "results.json").exists()
    parser = benchmark_parser("any", "", robot, ("zero", "lam_wild"), ("part",))
    assert not Sources.from_arguments(parser.parse_args([])).named and Sources.from_arguments(parser.parse_args(["--rows", "zero"])).named


def test_rows_of_no_part_are_a_mistake(tmp_path: Path) -> None:
    home = checkpoint_and_robot(tmp_path, "panda")
    with pytest.raises(InputError, match="no row of regression_prior can be measured in open_loop; choose others"):
        manipulation.main(["--quick", "--episodes", "1", "--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home),
                           "--device", "cpu", "--out", str(tmp_path / "out"), "--part", "open_loop", "--rows", "regression_prior"])


@pytest.mark.parametrize("place", ["now.png", "now.png/deeper"])
def test_results_are_not_written_where_a_file_lies(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "now.png").write_bytes(b"a picture")
    for main, needed in ((manipulation.main, []), (labels.main, ["a.hdf5", "--robot", "panda"])):
        with pytest.raises(SystemExit) as ended:
            main([*needed, "--out", str(tmp_path / place)])
        assert ended.value.code == 2
        assert f"argument --out: {tmp_path / 'now.png'} is a file; give a folder" in capsys.readouterr().err


def test_the_budget_curve(tmp_path: Path) -> None:
    home, out = checkpoint_and_robot(tmp_path, "panda"), tmp_path / "out"
    budget.main(["--episodes", "2", "--budgets", "8x1,16x2", "--checkpoint", str(tmp_path / "checkpoint"), "--robot", str(home),
                 "--out", str(out), "--device", "cpu"])
    results = Results.read(out)
    ways = {row.name for row in results.find("budget", "delta_xyz")}
    alone = {"zero", "proposal", "regression"}
    assert ways == alone | {f"{way} {size}" for way in budget.WAYS if way not in alone for size in ("8x1", "16x2")}
    assert (out / "plots" / "budget.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("argv", "said"), [
    ([], "make demo"), (["--out", "runs/demo"], "make demo"),
    (["--out", "a b", "--checkpoint", "mine"], "python -m benchmarks.demo --out 'a b' --checkpoint mine"),
])
def test_the_demo_says_how_it_is_made_again(tmp_path: Path, argv: list[str], said: str) -> None:
    assert demo.command(argv) == said
    assert demo.begin("demo (Panda)", tmp_path, demo.command(argv)).results.command == said


def test_latency(tmp_path: Path) -> None:
    home, out = checkpoint_and_robot(tmp_path, "panda"), tmp_path / "out"
    options = ["--samples", "12", "--iterations", "2", "--repeats", "1", "--batches", "1,2", "--batch-samples", "4", "--deadline", "0.1",
               "--deadline-plans", "3", "--soak", "20", "--device", "cpu", "--checkpoint", str(tmp_path / "checkpoint"),
               "--robot", str(home)]
    latency.main([*options, "--part", ",".join(latency.PARTS), "--out", str(out)])
    results = Results.read(out)
    assert {row.task for row in results.rows} == {"machine", "one episode", "several episodes", "deadline", "20 plans in a row"}
    share = next(row.value for row in results.rows if row.metric == "share of the matrix rate")
    assert 0 < share < 1
