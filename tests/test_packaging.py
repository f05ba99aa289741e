"""The shape of the house: imports run one way, pretraining sees no action, the wheel holds the library and nothing else."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What each room of the library may import, beside itself. `logs` know no model, `models` no file format, `search` neither.
PLAIN = {"errors", "motion", "robot"}
MODEL = {"errors", "weights", "latents", "models", "lam", "precision"}
ROOMS = {
    "errors": set(),
    "allocator": set(),
    "arrays": set(),
    "precision": set(),
    "rotations": {"arrays"},
    "motion": {"arrays", "rotations"},
    "robot": {"arrays", "errors", "motion"},
    "weights": {"errors"},
    "files": set(),
    "video": {"errors", "files"},
    "corpus": {"errors", "files", "video"},
    # What handles foreign files does so in processes of its own, which know neither torch nor models.
    "decoders": {"errors", "video"},
    "shards": {"errors", "files", "video", "corpus", "decoders"},
    "images": {"errors"},
    "notes": {"errors", "files"},
    "latents": {"errors"},
    "models": {"errors", "weights", "latents", "precision"},
    "lam": {"errors", "weights", "latents", "models"},
    "controllers": MODEL | {"robot"},
    "search": {"errors"},
    "graphs": {"models"},
    "rollout": MODEL | {"graphs"},
    "costs": {"errors"},
    "limits": {"errors", "robot"},
    "asked": {"errors", "costs"},
    "presets": {"errors", "costs", "search"},
    "pace": MODEL | {"rollout"},
    "judge": MODEL | {"asked", "costs", "pace", "rollout"},
    "ranks": set(),
    "logs": PLAIN | {"files", "images", "rotations", "video"},
    "report": PLAIN | {"video"},
    "checkup": PLAIN | {"logs", "report"},
    "energy": MODEL | {"controllers", "costs", "logs", "report", "robot", "rollout", "train"},
    "train": MODEL | {"allocator", "controllers", "files", "images", "notes", "rollout", "robot", "logs", "video", "corpus", "decoders",
                      "report", "views"},
    "views": {"costs", "motion"},
    "latent_planner": MODEL | {"asked", "controllers", "costs", "judge", "limits", "motion", "pace", "planner", "presets", "robot",
                               "rollout", "search", "views"},
    "planner": MODEL | {"allocator", "asked", "controllers", "costs", "images", "judge", "limits", "pace", "presets", "ranks", "report",
                        "robot", "rollout", "search", "views"},
}
# The face of the package gathers what a user imports; the command line may use everything.
OPEN = {"__init__", "cli", "commands", "__main__"}
# What reads or means an action: pretraining must not know it. Fitting a controller is what actions are for.
ACTION_ROOMS = ("lamplan.logs", "lamplan.motion", "lamplan.robot")
FITTING = {"lamplan.train.controller", "lamplan.train.goal_regression", "lamplan.train.labelled", "lamplan.train.verdict"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, at any depth of its code; not what only a type checker reads."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
              for statement in node.body for inner in ast.walk(statement)}
    for node in (node for node in ast.walk(tree) if id(node) not in unread):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full, without dots"
            # `from package import module` imports the module as well; a name that is no module does no harm here.
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def inside(module: str, roots: tuple[str, ...] | set[str]) -> bool:
    return any(module == root or module.startswith(root + ".") for root in roots)


def modules(names: set[str]) -> set[str]:
    """Those of the names that are modules of this repository."""
    paths = {name: ROOT.joinpath(*name.split(".")) for name in names}
    return {name for name, path in paths.items() if path.with_suffix(".py").exists() or (path / "__init__.py").exists()}


@pytest.mark.parametrize("path", files("lamplan"), ids=name_of)
def test_the_library_imports_down_its_own_list(path):
    found = modules(imports_of(path))
    outside = {name for name in found if inside(name, ("envs", "benchmarks", "tests", "tools"))}
    assert not outside, "the library knows nothing outside itself"
    room = path.relative_to(ROOT / "lamplan").parts[0].removesuffix(".py")
    if room in OPEN:
        return
    used = {name.split(".")[1] for name in found if name.startswith("lamplan.")} - {room}
    assert room in ROOMS, f"lamplan/{room} is a new room: say in this test what it may import"
    assert used <= ROOMS[room], f"{name_of(path)} imports lamplan.{', lamplan.'.join(sorted(used - ROOMS[room]))}"


@pytest.mark.parametrize("path", files("envs"), ids=name_of)
def test_worlds_use_only_the_plain_parts_of_the_library(path):
    found = modules(imports_of(path))
    allowed = ("lamplan.robot", "lamplan.errors", "lamplan.logs", "lamplan.video")
    assert not {name for name in found if inside(name, ("lamplan",)) and name != "lamplan" and not inside(name, allowed)}
    assert not {name for name in found if inside(name, ("benchmarks", "tests"))}


def test_a_simulators_worker_does_not_load_torch():
    """It would cost each of them seconds and hundreds of megabytes."""
    work = ("import sys, lamplan.logs, numpy as np; from lamplan.robot import RobotSpec; robot = RobotSpec.load('controllers/panda'); "
            "robot.split(robot.differences(np.zeros((2, 7))), 3); assert 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", work], cwd=ROOT, check=True)


@pytest.mark.parametrize("folder", ["lamplan", "envs", "benchmarks", "tools"])
def test_nothing_imports_the_command_line_or_the_tests(folder):
    for path in files(folder):
        if name_of(path) not in ("lamplan.__main__", "lamplan.cli"):
            assert not {name for name in imports_of(path) if inside(name, ("lamplan.cli", "lamplan.commands", "tests"))}, path


def test_pretraining_reads_no_action():
    """Whatever `lamplan pretrain` can reach knows neither logs nor robots, so no action can come in."""
    start = {name_of(path) for path in files("lamplan/train")} | {"lamplan.lam", "lamplan.latents"}
    waiting, reached = {name for name in start if not inside(name, FITTING)}, set()
    while waiting:
        module = waiting.pop()
        reached.add(module)
        path = ROOT.joinpath(*module.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        found = modules(imports_of(path))
        assert not {name for name in found if inside(name, ACTION_ROOMS)}, f"{module} imports what knows actions"
        assert "lamplan" not in found, f"{module} imports from the package's face, which gathers everything"
        assert not {name for name in found if inside(name, FITTING)}, f"{module} imports the fitting of controllers"
        waiting |= {name for name in found if inside(name, ("lamplan",)) and name != "lamplan"} - reached
    assert {"lamplan.lam", "lamplan.latents"} <= reached and any(name.startswith("lamplan.train.") for name in reached)


def test_the_wheel_holds_the_library_only(tmp_path):
    build = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    source = tmp_path / "source"
    listing = ["git", "ls-files", "-co", "--exclude-standard", "pyproject.toml", "README.md", "LICENSE", "lamplan", "envs"]
    for name in subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lamplan"}
    assert {"lamplan/py.typed", "lamplan/planner.py", "lamplan/configs/wild-small.toml"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_project_describes_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0" and project["requires-python"] == ">=3.11"
    assert project["scripts"] == {"lamplan": "lamplan.cli:main"} and set(project["optional-dependencies"]) == {"sim", "logs", "dev"}
    version = next(line for line in (ROOT / "lamplan/__init__.py").read_text().splitlines() if line.startswith("__version__"))
    assert version == f'__version__ = "{project["version"]}"'
