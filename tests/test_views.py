"""What is read from shifted pictures."""

from __future__ import annotations

import pytest
import torch

from lamplan.costs import Goals
from lamplan.views import DIRECTIONS, SHIFT, Views, views


def test_views_are_the_picture_moved_towards_each_corner_the_true_one_first() -> None:
    picture = torch.zeros(2, 64, 128, 3, dtype=torch.uint8)
    picture[:, 30, 60] = 255
    found = views(picture, "arm")
    assert found.shape == (5, 2, 64, 128, 3) and torch.equal(found[0], picture)
    for view, (down, right) in zip(found, DIRECTIONS["arm"], strict=True):
        assert view[:, 30 - down * round(SHIFT * 64), 60 - right * round(SHIFT * 128)].eq(255).all() and view.sum() == picture.sum()


def test_the_edge_is_repeated_and_a_camera_that_drives_along_has_one_view() -> None:
    picture = torch.arange(32, dtype=torch.uint8)[:, None, None].expand(32, 32, 3)
    assert views(picture, "arm")[1][:, 0, 0].tolist() == [*range(1, 32), 31]
    assert torch.equal(views(picture, "mobile"), picture[None])


@pytest.mark.parametrize("sequence", [True, False])
def test_all_views_of_an_episode_head_for_the_same_goal_and_their_mean_counts(sequence: bool) -> None:
    present = torch.zeros(4, 1, 1)  # two views of two episodes
    goals = torch.tensor([[1.0, 5.0], [6.0, 2.0], [9.0, 3.0], [4.0, 9.0]])[:, :, None, None]  # shifted, the other one looks nearer
    seen = Views(present, Goals(goals, sequence), episodes=2)
    assert seen.target.flatten().tolist() == ([5, 2, 3, 9] if sequence else [1, 2, 9, 9])
    assert seen.mean(torch.tensor([1.0, 2.0, 3.0, 6.0])).tolist() == [2, 4]
