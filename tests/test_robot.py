"""What an action means: differences of states compose back to the states, and a wrong robot.toml is named."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lamplan.errors import InputError
from lamplan.motion import composed, mobile_arc
from lamplan.robot import RobotSpec, robot_file
from lamplan.search import CEM, ICEM, MPPI, Gradient, SearchSpace, box

SMALL = st.floats(-0.3, 0.3)
ANGLE = st.floats(-np.pi, np.pi)


@pytest.fixture(scope="module")
def panda(root) -> RobotSpec:
    return RobotSpec.load(root / "controllers" / "panda")


@pytest.fixture(scope="module")
def rover(root) -> RobotSpec:
    return RobotSpec.load(root / "controllers" / "rover")


@settings(max_examples=60, deadline=None)
@given(start=st.tuples(SMALL, SMALL, SMALL, ANGLE, st.floats(-1.5, 1.5), ANGLE, st.floats(0, 1)), seed=st.integers(0, 10_000))
def test_arm_differences_undo_the_composition_of_actions(panda, start, seed):
    actions = np.random.default_rng(seed).uniform(-0.3, 0.3, (5, 7))
    states = [np.array(start)]
    for action in actions:
        turned = Rotation.from_euler("xyz", action[3:6]) * Rotation.from_euler("xyz", states[-1][3:6])
        states.append(np.concatenate([states[-1][:3] + action[:3], turned.as_euler("xyz"), states[-1][6:] + action[6:]]))
    np.testing.assert_allclose(panda.differences(np.array(states)), actions, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(start=st.tuples(SMALL, SMALL, ANGLE), seed=st.integers(0, 10_000), turns=st.integers(-2, 2))
def test_mobile_differences_undo_the_composition_of_actions(rover, start, seed, turns):
    actions = np.random.default_rng(seed).uniform(-1.0, 1.0, (8, 3))
    states = [np.array(start)]
    for dx, dy, dyaw in actions:
        x, y, yaw = states[-1]
        step = Rotation.from_euler("z", yaw).apply([dx, dy, 0.0])
        states.append(np.array([x + step[0], y + step[1], yaw + dyaw]))
    states = np.array(states)
    states[4:, 2] += 2 * np.pi * turns
    np.testing.assert_allclose(rover.differences(states), actions, atol=1e-9)


def test_one_step_forward_of_a_rover_that_looks_along_y(rover):
    np.testing.assert_allclose(rover.differences(np.array([[0, 0, np.pi / 2], [0, 0.25, np.pi / 2]])), [[0.25, 0, 0]], atol=1e-12)


def test_one_state_has_no_difference(panda, rover):
    assert panda.differences(np.zeros((1, 7))).shape == (0, 7)
    assert rover.differences(np.zeros((1, 3))).shape == (0, 3)


def test_a_batch_of_episodes_differs_as_each_of_them(panda, rover):
    states = np.random.default_rng(0).uniform(-1, 1, (2, 3, 5, 7))
    for robot, some in ((panda, states), (rover, states[..., :3])):
        found = robot.differences(some)
        assert found.shape == (2, 3, 4, robot.action_dim)
        np.testing.assert_array_equal(found[1, 2], robot.differences(some[1, 2]))
        np.testing.assert_array_equal(found, robot.motion(some[..., :-1, :], some[..., 1:, :]))
        np.testing.assert_allclose(robot.differences(torch.from_numpy(some)).numpy(), found, atol=1e-12)


def assert_same_motion(robot: RobotSpec, found: np.ndarray, expected: np.ndarray, atol: float) -> None:
    """Actions (..., A) within `atol` of each other: near a pitch of a right angle a turn in single precision is as exact as anywhere, but
    roll and yaw, of which only the sum matters there, are not. So turns are compared, in rad."""
    if robot.kind == "arm":
        between = Rotation.from_euler("xyz", found[..., 3:6]) * Rotation.from_euler("xyz", expected[..., 3:6]).inv()
        np.testing.assert_array_less(between.magnitude(), atol)
        found, expected = (np.delete(actions, [3, 4, 5], axis=-1) for actions in (found, expected))
    np.testing.assert_allclose(found, expected, atol=atol)


def unlimited(robot: RobotSpec) -> RobotSpec:
    return replace(robot, low=robot.low - 10, high=robot.high + 10)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.integers(1, 8))
def test_the_parts_of_a_motion_compose_to_the_whole(panda, rover, seed, steps):
    rng = np.random.default_rng(seed)
    motions = np.concatenate([rng.uniform(-1, 1, (3, 3)), rng.uniform(-1.5, 1.5, (3, 3)), rng.uniform(-1, 1, (3, 1))], axis=1)
    for robot, some in ((panda, motions), (rover, motions[:, :3])):
        parts = unlimited(robot).split(some, steps)
        whole = composed(robot.kind, np.repeat(parts[:, None], steps, axis=1))[:, -1]
        np.testing.assert_allclose(whole, some, atol=1e-9)
        np.testing.assert_allclose(unlimited(robot).split(torch.from_numpy(some), steps).numpy(), parts, atol=1e-12)
        single = unlimited(robot).split(torch.from_numpy(some).float(), steps)
        assert single.dtype == torch.float32
        assert_same_motion(robot, single.double().numpy(), parts, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(speed=st.floats(0.1, 4), turn=st.floats(-1.5, 1.5), steps=st.integers(1, 8))
def test_a_mobile_robot_goes_as_far_on_its_circle_as_the_limits_allow(rover, speed, turn, steps):
    there = mobile_arc(np.array([speed]), np.array([turn]), 1.0)[0]
    step = rover.split(there, steps)
    assert (step >= rover.low).all() and (step <= rover.high).all()
    part = step[2] / turn if abs(turn) > 1e-3 else step[0] / speed  # of the circle's second
    np.testing.assert_allclose(step, mobile_arc(np.array([speed]), np.array([turn]), part)[0], atol=1e-6)
    more = mobile_arc(np.array([speed]), np.array([turn]), part * 1.001)[0]
    assert part == pytest.approx(1 / steps) or (more > rover.high).any() or (more < rover.low).any()
    np.testing.assert_allclose(rover.split(torch.from_numpy(there), steps).numpy(), step, atol=1e-12)


def test_a_mobile_robot_that_cannot_back_up_turns_towards_what_lies_behind(rover):
    forward = replace(rover, low=np.array([0.0, -0.1, -0.4]))
    step = forward.split(np.array([-1.0, 0.3, 2.0]), 3)
    assert step[0] == 0 and step[2] == pytest.approx(0.4)


def test_a_part_of_a_small_turn_is_nearly_its_share_of_the_angles_and_of_a_quarter_turn_about_two_axes_is_not(panda):
    small = np.array([0, 0, 0, 0.1, -0.08, 0.12, 0])
    assert np.abs(panda.split(small, 3) - small / 3).max() < 4e-3
    large = np.array([0, 0, 0, np.pi / 2, 0, np.pi / 2, 0])  # together a third of a turn about (1, 1, 1)
    part = unlimited(panda).split(large, 2)[3:6]
    assert Rotation.from_euler("xyz", part).magnitude() == pytest.approx(np.pi / 3)
    assert np.abs(part - large[3:6] / 2).max() > 0.1


@pytest.mark.parametrize("shape", [(7,), (4, 3), (2, 4, 6)])
def test_states_of_another_shape_are_named(panda, shape):
    with pytest.raises(InputError, match=r"shape \(\.\.\., T, 7\)"):
        panda.differences(np.zeros(shape))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_clipped_actions_lie_within_the_limits(panda, seed, scale):
    actions = np.random.default_rng(seed).normal(0, scale, (4, 3, 7))
    clipped = panda.clip(actions)
    assert (clipped >= panda.low).all() and (clipped <= panda.high).all()
    inside = (actions >= panda.low) & (actions <= panda.high)
    np.testing.assert_array_equal(clipped[inside], actions[inside])


@pytest.mark.parametrize(("name", "kind", "size"), [("panda", "arm", 7), ("rover", "mobile", 3)])
def test_the_shipped_robots(root, name, kind, size):
    robot = RobotSpec.load(root / "controllers" / name / "robot.toml")
    assert (robot.name, robot.kind, robot.action_dim, robot.state_dim, robot.rate_hz) == (name, kind, size, size, 4.0)
    assert len(robot.units) == size and robot.camera.endswith("_image")
    assert (robot.prior_mean >= robot.low).all() and (robot.prior_mean <= robot.high).all()


def test_a_robot_of_several_cameras_is_seen_through_one_of_them(tmp_path):
    def load(camera, through=None):
        (tmp_path / "robot.toml").write_text(GOOD.replace('"front_image"', camera))
        return RobotSpec.load(tmp_path, through)

    both = '["front_image", "side_image"]'
    assert load('"front_image"').cameras == ("front_image",)
    assert (load(both).camera, load(both).cameras) == ("front_image", ("front_image", "side_image"))
    side = load(both, "side_image")
    assert (side.camera, side.cameras, side.over(2).cameras) == ("side_image", *2 * (load(both).cameras,))
    with pytest.raises(InputError, match=r"no camera 'roof'.*front_image, side_image"):
        load(both, "roof")
    for wrong in ("3", "true", '""', "[[]]", "[]", '["a", "a"]', '["a", "../b"]', '["a", ".."]', '["a", ""]', '["a", 3]'):
        with pytest.raises(InputError, match="'camera' is the name"):
            load(wrong)


GOOD = """
name = "cart"
kind = "mobile"
rate_hz = 4.0
frame = "robot"
camera = "front_image"
[action]
names = ["dx", "dy", "dyaw"]
units = ["m", "m", "rad"]
low = [-1, -1, -1]
high = [1, 1, 1]
[prior]
mean = [0, 0, 0]
std = [1, 1, 1]
"""


def test_a_description_of_ones_own(tmp_path):
    (tmp_path / "robot.toml").write_text(GOOD)
    assert RobotSpec.load(tmp_path).workspace_low is None
    (tmp_path / "robot.toml").write_text(GOOD.replace("low = [-1, -1, -1]", "low = [-1, -1, -1]\nchange = [0.1, 0.1, 0.2]"))
    np.testing.assert_array_equal(RobotSpec.load(tmp_path).change, [0.1, 0.1, 0.2])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "mobile"', 'kind = "boat"', "kind is 'boat'"),
        ("rate_hz = 4.0", "", "lacks the entry 'rate_hz'"),
        ("rate_hz = 4.0", "rate_hz = 0", "'rate_hz' must be a positive number of steps a second, found 0"),
        ("rate_hz = 4.0", "rate_hz = inf", "'rate_hz' must be a positive number .* found inf"),
        ("rate_hz = 4.0", "rate_hz = true", "'rate_hz' must be a positive number .* found True"),
        ("rate_hz = 4.0", 'rate_hz = "fast"', "'rate_hz' must be a positive number .* found 'fast'"),
        ("low = [-1, -1, -1]", "low = [-1, -1]", r"'low' in \[action\] must hold 3 finite numbers"),
        ("low = [-1, -1, -1]", 'low = ["a", -1, -1]', r"'low' in \[action\] must hold 3 finite numbers, .* found \['a', -1, -1\]"),
        ("low = [-1, -1, -1]", "low = -1", r"'low' in \[action\] must hold 3 finite numbers, .* found -1"),
        ("low = [-1, -1, -1]", "low = [-1, -1, -1]\nchange = [0.1, 0.1, 0]", r"'change' in \[action\] must hold 3 positive numbers"),
        ("[prior]", "[workspace]\nlow = [0, 0, 0]\nhigh = [1, 1, 1]\n[prior]", "workspace. is for arms"),
        ("low = [-1, -1, -1]", "low = [-1, nan, -1]", r"'low' in \[action\] must hold 3 finite numbers"),
        ("low = [-1, -1, -1]", "low = [-1, 2, -1]", r"every 'low' in \[action\] must lie below its 'high', found 2 and 1 for dy"),
        ("std = [1, 1, 1]", "std = [1, -2, 1]", r"'std' in \[prior\] must hold 3 finite numbers of at least 0, .* found \[1, -2, 1\]"),
        ("std = [1, 1, 1]", "std = [0, 0, 0]", "0 on every axis, so that nothing would be searched"),
        ("mean = [0, 0, 0]", 'mean = ["a", "b", "c"]', r"'mean' in \[prior\] must hold 3 finite numbers"),
        ("[prior]", "[before]", "the entry 'before' is not one of"),
        ("[prior]\nmean = [0, 0, 0]\nstd = [1, 1, 1]", "", "lacks the entry 'prior'"),
        ("[prior]", "[workspaces]\nlow = [0, 0, 0]\n[prior]",
         "'workspaces' is not one of .*, perhaps 'workspace' is meant"),
        ("low = [-1, -1, -1]", "low = [-1, -1, -1]\nchanges = [1, 1, 1]",
         r"'changes' in \[action\] is not one of .*, perhaps 'change' is meant"),
        ("std = [1, 1, 1]", "std = [1, 1, 1]\nspread = 1", r"'spread' in \[prior\] is not one of mean, std: rename"),
        ('kind = "mobile"', 'kind = "mobile"\nworkspace = 3', r"'workspace' must be a table, found 3; write \[workspace\] above"),
        ('["dx", "dy", "dyaw"]', '["dy", "dx", "dyaw"]', r"'names' in .* must be \['dx', 'dy', 'dyaw'\], found \['dy', 'dx', 'dyaw'\]"),
        ('["m", "m", "rad"]', '["mm", "mm", "rad"]', r"'units' in .* must be \['m', 'm', 'rad'\], found \['mm', 'mm', 'rad'\]"),
        ('["m", "m", "rad"]', '["m"]', r"'units' in .* found \['m'\]"),
        ("[action]", "[action", "not valid TOML"),
    ],
)
def test_a_wrong_description_is_named(tmp_path, old, new, message):
    path = tmp_path / "robot.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        RobotSpec.load(tmp_path)
    assert str(path) in str(caught.value)


ARM = (GOOD.replace('"mobile"', '"arm"').replace('"robot"', '"camera"')
       .replace('["dx", "dy", "dyaw"]', '["dx", "dy", "dz", "droll", "dpitch", "dyaw", "dgripper"]')
       .replace('["m", "m", "rad"]', '["m", "m", "m", "rad", "rad", "rad", "1"]').replace("[-1, -1, -1]", str([-1] * 7))
       .replace("[1, 1, 1]", str([1] * 7)).replace("[0, 0, 0]", str([0] * 7)))
STANDS = "[extrinsics]\nfront_image = [[0, 0, -1], [1, 0, 0], [0, -1, 0.0]]\n"


def loaded(text, folder):
    (folder / "robot.toml").write_text(text)
    return RobotSpec.load(folder)


def test_an_arm_whose_actions_are_in_its_cameras_frame_is_told_them_in_the_bases(tmp_path):
    arm = loaded(ARM + STANDS, tmp_path)
    ahead = np.array([[0.0, 0, 0.1, 0, 0, 0.2, 1.0]])  # along the camera's z, and about it: the base's -x
    np.testing.assert_allclose(arm.to_base(ahead), [[-0.1, 0, 0, -0.2, 0, 0, 1.0]], atol=1e-12)
    np.testing.assert_allclose(arm.to_base(ahead[None, 0], np.eye(3)), ahead, atol=1e-12)
    plan = np.random.default_rng(0).uniform(-1, 1, (2, 3, 7))
    np.testing.assert_allclose(arm.to_base(plan)[1, 2], arm.to_base(plan[1, 2]), atol=1e-12)
    with pytest.raises(InputError, match="axes must be a rotation matrix"):
        arm.to_base(ahead, 2 * np.eye(3))
    with pytest.raises(InputError, match=r"frame of front_image, .* add front_image to \[extrinsics\]"):
        loaded(ARM, tmp_path).to_base(ahead)
    here = loaded(ARM.replace('"camera"', '"base"'), tmp_path)
    assert here.to_base(ahead) is ahead and here.source == "measured"


def test_a_rounded_rotation_is_made_exact(tmp_path):
    rounded = STANDS.replace("[[0, 0, -1], [1, 0, 0], [0, -1, 0.0]]", "[[0.707, -0.707, 0], [0.707, 0.707, 0], [0, 0, 1]]")
    axes = loaded(ARM + rounded, tmp_path).axes["front_image"]
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)


@pytest.mark.parametrize(("text", "message"), [
    (GOOD.replace('"robot"', '"base"'), "frame is 'base'; actions of a robot of kind 'mobile' are in the frame of its robot"),
    (ARM.replace('"camera"', '"hand"'), "frame is 'hand'; .* of its base or camera"),
    (GOOD.replace("low =", 'source = "wished"\nlow =', 1), "'source' is 'wished', expected one of measured, commanded"),
    (ARM + "[workspace]\nlow = [0, 0, 0]\nhigh = [1, 1, 1]\n", "cannot be kept in it axis by axis"),
    (ARM + "[workspace]\nlow = [0, 0, 3]\nhigh = [1, 1, 1]\n", r"'low' in \[workspace\] must lie below its 'high', found 3 and 1 for z"),
    (ARM + "[workspace]\nlow = [0, 0]\nhigh = [1, 1, 1]\n", r"'low' in \[workspace\] must hold 3 finite numbers, one for each of x, y, z"),
    (ARM.replace('"camera"', '"base"') + STANDS, "found frame 'base'"),
    (ARM + STANDS.replace("front_image", "roof_image"), "how the cameras front_image stand; .* roof_image"),
    (ARM + STANDS.replace("[0, -1, 0.0]", "[0, 1, 0.0]"), r"\[extrinsics\] front_image must be a rotation matrix"),
    (ARM + STANDS.replace(", [0, -1, 0.0]", ""), r"\[extrinsics\] front_image must be a rotation matrix \(3, 3\)"),
    (ARM + "[extrinsics]\nfront_image = [0.3, 0.5, 0.4, -2.0, 0.1, -2.2]\n", "must be a rotation matrix"),
])
def test_a_wrong_frame_or_source_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        loaded(text, tmp_path)
    assert str(tmp_path / "robot.toml") in str(caught.value)


def test_no_description_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no robot '.*absent': expected a folder that holds a robot\.toml"):
        RobotSpec.load(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no robot description at .*absent\.toml"):
        RobotSpec.load(tmp_path / "absent.toml")
    (tmp_path / "robot.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid TOML"):
        RobotSpec.load(tmp_path)


def test_a_robot_is_its_folder_its_description_or_its_name_under_controllers(root, monkeypatch):
    monkeypatch.chdir(root)
    for robot in ("panda", "controllers/panda", root / "controllers" / "panda" / "robot.toml"):
        assert RobotSpec.load(robot).name == "panda"
        assert robot_file(robot).samefile(root / "controllers" / "panda" / "robot.toml")


def test_an_axis_without_a_spread_is_held(tmp_path):
    robot = loaded(GOOD.replace("mean = [0, 0, 0]", "mean = [0.1, 0.2, 0.3]").replace("std = [1, 1, 1]", "std = [1, 1, 0]"), tmp_path)
    mean, std = (torch.from_numpy(vector).float() for vector in (robot.prior_mean, robot.prior_std))
    space = SearchSpace(box(-torch.ones(3), torch.ones(3)), mean.expand(1, 3, 3), std)
    for search in (CEM(16, 3, 4), ICEM(16, 3, 4), MPPI(16, 3), Gradient(4, 3)):
        found = search.minimise(lambda actions: (actions - 1).square().sum((-1, -2)), space, torch.Generator().manual_seed(0))
        moved = (found.actions - mean).abs()
        assert moved[..., :2].max() > 0.1 and moved[..., 2].max() < 1e-6, search


def test_the_number_of_actions_must_fit_the_kind(tmp_path):
    text = GOOD.replace('["dx", "dy", "dyaw"]', '["dx", "dy"]').replace('["m", "m", "rad"]', '["m", "m"]')
    for three, two in (("[-1, -1, -1]", "[-1, -1]"), ("[1, 1, 1]", "[1, 1]"), ("[0, 0, 0]", "[0, 0]")):
        text = text.replace(three, two)
    (tmp_path / "robot.toml").write_text(text)
    with pytest.raises(InputError, match="mobile"):
        RobotSpec.load(tmp_path)
