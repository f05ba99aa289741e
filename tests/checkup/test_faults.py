"""Every fault is found, alone, in a log that is right otherwise; and a log that is right has none."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lamplan.errors import DataError
from lamplan.logs import Episode
from tests.checkup.worlds import checked, each, log, only, pictures


@settings(max_examples=12, deadline=None)
@given(kind=st.sampled_from(["arm", "mobile"]), seed=st.integers(0, 10_000), episodes=st.integers(1, 10), steps=st.integers(4, 40),
       rate_hz=st.sampled_from([3.0, 4.0, 15.0]))
def test_a_clean_log_has_no_trouble(kind, seed, episodes, steps, rate_hz):
    found = checked(log(kind, seed, episodes, steps, rate_hz))
    assert not found.troubles, found.troubles


def test_facts_of_a_clean_arm():
    facts = checked(log()).facts
    assert facts["episodes"].startswith("8, 240 steps") and facts["rate"].startswith("5 Hz by the clock of 8 episodes")
    assert facts["lengths"].startswith("metres") and facts["angles"].startswith("radians (roll goes to 3.14")
    assert facts["Euler convention"].startswith("Euler xyz about fixed axes, base frame") and "no other fits" in facts["Euler convention"]
    assert "0 seems to be open" in facts["gripper"] and "at one width, at the other end at many" in facts["gripper"]
    assert "lag +0" in facts["commands"] and facts["motion per command"].startswith("dx 1, dy 1, dz 1")
    assert facts["camera wrist_image"] == "12 x 8; looked at 240 of 240 frames, in 8 episodes"


def test_facts_of_a_clean_rover():
    facts = checked(log("mobile", steps=40)).facts
    assert facts["yaw"].startswith("is the direction of driving") and facts["angles"].startswith("radians")
    assert "Euler convention" not in facts and "gripper" not in facts


def scaled(*factors):
    return lambda one: {"states": one.states * np.array(factors)}


def with_value(values, step, axis, value):
    changed = values.copy()
    changed[step, axis] = value
    return changed


def gap(one):
    times = one.times_s.copy()
    times[8:] += 1.2
    return times


def angles_as(convert):
    return lambda one: {"states": np.concatenate([one.states[:, :3], convert(Rotation.from_euler("xyz", one.states[:, 3:6])),
                                                  one.states[:, 6:]], axis=1)}


def told_in_the_tool_frame(one):
    turns = Rotation.from_euler("xyz", one.states[:, 3:6])
    told = turns.inv().apply(Rotation.from_euler("xyz", one.actions[:, 3:6]).as_rotvec())
    return {"actions": np.concatenate([one.actions[:, :3], told, one.actions[:, 6:]], axis=1)}


def poses_to_go_to(one):
    return {"actions": np.concatenate([one.states[1:], one.states[-1:]])}


def frozen(first, last):
    return lambda camera, steps: pictures(3, camera, np.where((steps >= first) & (steps < last), first, steps))


def dark(first, last):
    return lambda camera, steps: pictures(3, camera, steps) * ~((steps >= first) & (steps < last))[:, None, None, None]


def covered_wrist(camera, steps):
    return dark(0, 99 if camera == "wrist_image" else 0)(camera, steps)


def no_picture(camera, steps):
    raise DataError("recordings/MP4/2.mp4 has 29 frames for 30 recorded states; there must be one frame per state.")


def gripper(change, told):
    return lambda one: {"states": with_value(one.states, slice(None), 6, change(one.states[:, 6])),
                        "actions": with_value(one.actions, slice(None), 6, told * one.actions[:, 6])}


ARM_FAULTS = {
    "millimetres": (lambda one: each(one, scaled(1e3, 1e3, 1e3, 1, 1, 1, 1)), "units",
                    r"positions look like millimetres.*multiply.*0\.001"),
    "centimetres": (lambda one: each(one, scaled(1e2, 1e2, 1e2, 1, 1, 1, 1)), "units", "positions look like centimetres"),
    "degrees": (lambda one: each(one, scaled(1, 1, 1, *[180 / np.pi] * 3, 1)), "units", r"roll goes to 180: angles look like degrees"),
    "a gap": (lambda one: only(one, 2, times_s=gap(one[2])), "clock", r"demo_2, step 7: 1 gap\(s\) in the clock, the longest 1.4 s"),
    "another rate": (lambda one: only(one, 5, rate_hz=15.0, times_s=one[5].times_s / 3), "rate", "demo_5: 15 Hz; expected 5 Hz"),
    "a header": (lambda one: each(one, lambda _: {"stated_hz": 10.0}), "header", "the clock gives 5 Hz; expected 10 Hz"),
    "a NaN": (lambda one: only(one, 1, states=with_value(one[1].states, 4, 2, np.nan)), "NaN", "demo_1, step 4: states hold a NaN"),
    "an infinite command": (lambda one: only(one, 1, actions=with_value(one[1].actions, 9, 0, np.inf)), "NaN", "step 9: actions"),
    "one step": (lambda one: only(one, 1, states=one[1].states[:1], actions=None, times_s=None), "too short", "demo_1: 1 step;"),
    "a command less": (lambda one: only(one, 1, actions=one[1].actions[:-1]), "steps", "demo_1: 29 actions for 30 states"),
    "another width": (lambda one: only(one, 7, states=one[7].states[:, :6]), "width", r"demo_7: states of shape \(30, 6\)"),
    "wide commands": (lambda one: only(one, 7, actions=one[7].actions[:, :6]), "width", r"demo_7: actions of shape \(30, 6\)"),
    "all states still": (lambda one: only(one, 4, states=one[4].states[:1].repeat(30, 0)), "still", "demo_4: the states stay the same"),
    "a jump": (lambda one: only(one, 6, states=one[6].states + 3 * np.outer(np.arange(30) > 11, np.eye(7)[1])), "jump",
               r"demo_6, step 11: the position jumps by 3.02 m"),
    "a turn": (lambda one: only(one, 6, states=with_value(one[6].states, slice(12, None), 5, 2.9)), "jump", r"step 11: .* turns by"),
    "late log": (lambda one: each(one, lambda e: {"actions": np.roll(e.actions, 1, 0)}), "lag", r"1 step\(s\) earlier"),
    "late robot": (lambda one: each(one, lambda e: {"actions": np.roll(e.actions, -2, 0)}), "lag", r"2 step\(s\) later"),
    "one sign": (lambda one: each(one, lambda e: {"actions": e.actions * [1, -1, 1, 1, 1, 1, 1]}), "sign", r"dy: .* opposite signs"),
    "normalised": (lambda one: each(one, lambda e: {"actions": e.actions * 20}), "command units", r"1 in dx moved 0\.05"),
    "poses": (lambda one: each(one, poses_to_go_to), "commands", "poses to go to"),
    "moving axes": (lambda one: each(one, angles_as(lambda r: r.as_euler("XYZ"))), "Euler convention", "agree as Euler xyz about moving"),
    "zyx": (lambda one: each(one, angles_as(lambda r: r.as_euler("ZYX"))), "Euler convention", "Euler zyx about moving axes"),
    "rotation vector": (lambda one: each(one, angles_as(lambda r: r.as_rotvec())), "Euler convention", "as a rotation vector"),
    "tool frame": (lambda one: each(one, told_in_the_tool_frame), "Euler convention", "Euler xyz about fixed axes, tool frame"),
    "gripper -1 to 1": (lambda one: each(one, gripper(lambda g: 2 * g / g.max() - 1, 2)), "gripper", r"-1 to 1 .*map g to"),
    "gripper in percent": (lambda one: each(one, gripper(lambda g: 100 * g, 100)), "gripper", "percentage or counts"),
    "gripper upside down": (lambda one: each(one, gripper(lambda g: 1 - g, -1)), "gripper", "begin at the high end, and it rests"),
    "gripper told upside down": (lambda one: each(one, gripper(lambda g: g, -1)), "gripper", "opposite signs"),
    "a frozen camera": (lambda one: only(one, 3, read=frozen(10, 20)), "frozen", "demo_3, camera ext.*, step 10: .* for 9 steps"),
    "black frames": (lambda one: only(one, 3, read=dark(5, 7)), "dark", "demo_3, camera exterior_image, step 5: 2 of 30 frames are black"),
    "frames are missing": (lambda one: only(one, 3, read=no_picture), "unreadable", "demo_3: .* 29 frames for 30 recorded"),
    "one picture": (lambda one: only(one, 3, read=lambda camera, steps: np.zeros((1, 8, 8, 3), np.uint8)), "unreadable", "1 images for"),
    "a camera is missing": (lambda one: only(one, 3, cameras=("wrist_image",)), "camera", "demo_3: no frames of exterior_image, only"),
    "no camera": (lambda one: each(one, lambda _: {"cameras": ()}), "camera", "no episode has a camera"),
    "a dead camera": (lambda one: each(one, lambda _: {"read": covered_wrist}), "dark", "camera wrist_image is black in all 240 frames"),
}
MOBILE_FAULTS = {
    "millimetres": (lambda one: each(one, scaled(1e3, 1e3, 1)), "units", "positions look like millimetres"),
    "degrees": (lambda one: each(one, scaled(1, 1, 180 / np.pi)), "units", "yaw goes to .* look like degrees"),
    "yaw the wrong way": (lambda one: each(one, lambda e: {"states": e.states * [1, 1, -1], "actions": None}), "yaw", "negative of its"),
    "yaw from y": (lambda one: each(one, lambda e: {"states": e.states + [0, 0, 1.2], "actions": None}), "yaw", r"-1\.20 rad off its yaw"),
    "a turn told upside down": (lambda one: each(one, lambda e: {"actions": e.actions * [1, 1, -1]}), "sign", "dyaw: .* opposite signs"),
}


@pytest.mark.parametrize(("kind", "name"), [("arm", name) for name in ARM_FAULTS] + [("mobile", name) for name in MOBILE_FAULTS])
def test_a_fault_is_found_and_nothing_else(kind, name):
    plant, topic, says = {"arm": ARM_FAULTS, "mobile": MOBILE_FAULTS}[kind][name]
    found = checked(plant(log(kind, steps=30 if kind == "arm" else 40)))
    assert {finding.topic for finding in found.troubles} == {topic}, found.troubles
    assert any(re.search(says, str(finding)) for finding in found.troubles), [str(finding) for finding in found.troubles]


class Damaged(list):
    """A log whose third episode cannot be read."""

    def __getitem__(self, index: int) -> Episode:
        if index == 2:
            raise DataError("log: demo_2 has no 'actions'.")
        return super().__getitem__(index)


def test_an_episode_that_cannot_be_read_is_a_finding():
    found = checked(Damaged(log()))
    assert [str(finding) for finding in found.troubles] == ["log: demo_2 has no 'actions'."]
    assert len(found.survey.episodes) == 7 and found.facts["episodes"].startswith("8, 210 steps")


def test_a_log_without_any_readable_episode_is_an_error():
    with pytest.raises(DataError, match="none of the 3 episodes of log can be used; the first: log: demo_0, step 0: states hold a NaN"):
        checked(each(log(episodes=3), lambda one: {"states": one.states * np.nan}))
    with pytest.raises(DataError, match="holds no episode"):
        checked([])


def test_a_rotation_vector_is_told_without_commands():
    """It flips from one side of pi to the other, where Euler angles would have turned by as much."""
    rotvec = each(log(), lambda one: angles_as(lambda r: r.as_rotvec())(one) | {"actions": None})
    found = [finding for finding in checked(rotvec).troubles if finding.topic == "Euler convention"]
    assert len(found) == 1 and "as a rotation vector it never turns faster" in str(found[0])


def test_what_cannot_be_told_is_said():
    still = each(log(), lambda one: {"states": one.states * [1, 1, 1, 0, 0, 0, 1], "actions": None})
    facts = checked(still).facts
    assert facts["angles"].startswith("cannot tell") and facts["Euler convention"].startswith("cannot tell")
    assert facts["commands"] == "none recorded"
    assert checked(each(still, lambda one: {"states": one.states * [1, 1, 1, 1, 1, 1, 0]})).facts["gripper"].startswith("never moves")


def test_states_of_an_unknown_width_are_still_checked_for_the_rest():
    wide = each(log(), lambda one: {"states": np.tile(one.states, 2), "actions": None})
    found = checked(only(wide, 3, read=frozen(10, 20)))
    assert {finding.topic for finding in found.troubles} == {"width", "frozen"}
    assert found.survey.kind is None and "camera wrist_image" in found.facts


def test_notes_are_no_trouble():
    found = checked(each(log(), lambda one: {"times_s": None, "video_hz": lambda: {"wrist_image": 60.0}}))
    assert not found.troubles
    assert {finding.topic for finding in found.notes} == {"rate", "header"} and "claim 60 Hz" in str(found.notes[-1])
    half = each(log(), lambda one: {"read": lambda camera, steps: pictures(3, camera, steps // 2 * 2)})
    assert {finding.topic for finding in checked(half).notes} == {"repeated"} and not checked(half).troubles
    grey = each(log(), lambda one: {"read": lambda camera, steps: np.full((len(steps), 8, 8, 3), 90, np.uint8) + steps[:, None, None, None]
                                    .astype(np.uint8)})
    assert {finding.topic for finding in checked(grey).notes} == {"blank"} and not checked(grey).troubles


def test_a_gripper_that_only_begins_high_is_a_note():
    """Without rests at both ends the sign is a guess."""
    few = [replace(one, states=with_value(one.states, slice(None), 6, 1 - one.states[:, 6]), actions=None) for one in log(episodes=3)]
    found = checked(few)
    assert not found.troubles and "that end seems to be open" in " ".join(map(str, found.notes))
