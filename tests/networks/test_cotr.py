"""COTR: its canvas, its position code, and what a query may and may not see."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from custom_components.common.errors import InputError
from custom_components.networks import COTR, CycleCOTR
from custom_components.networks.cotr import from_canvas, position_code, published_state, to_canvas


def small(**changes: Any) -> COTR:
    settings: dict[str, Any] = {
        "width": 16, "heads": 4, "layers": 2, "hidden": 32, "dropout": 0.0, "block": "basic", "blocks": (1, 1, 1),
        "channels": (8, 8, 8), "normalisation": ("group", {"num_groups": 4}),
    }  # fmt: skip
    return COTR(**settings | changes)


def test_the_canvas_has_the_first_image_on_the_left_and_the_second_on_the_right() -> None:
    corners = torch.tensor([[-0.5, -0.5], [3.5, 7.5]])  # outer corners of an image of 4 x 8
    assert torch.equal(to_canvas(corners, (4, 8), second=False), torch.tensor([[0.0, 0.0], [0.5, 1.0]]))
    assert torch.equal(to_canvas(corners, (4, 8), second=True), torch.tensor([[0.5, 0.0], [1.0, 1.0]]))


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.floats(-10, 310), st.floats(-10, 310))
def test_points_come_back_from_the_canvas(height, width, second, row, column) -> None:
    point = torch.tensor([[row, column]], dtype=torch.float64)
    back = from_canvas(to_canvas(point, (height, width), second), (height, width), second)
    assert torch.allclose(back, point, atol=1e-9)


def test_the_position_code_is_what_its_definition_says() -> None:
    x, y = 0.3, 0.8
    code = position_code(torch.tensor([x, y]), 3)
    phases = torch.pi * torch.tensor([1 * x, 1 * y, 2 * x, 2 * y, 3 * x, 3 * y])
    assert torch.allclose(code, torch.cat([phases.sin(), phases.cos()]), atol=1e-6)


def test_queries_do_not_see_each_other() -> None:
    network, image, queries = small().eval(), torch.rand(2, 2, 32, 32), torch.rand(2, 5, 2)
    together = network(image, queries)
    alone = torch.cat([network(image, queries[:, i : i + 1]) for i in range(5)], dim=1)
    assert together.shape == (2, 5, 2)
    assert torch.allclose(together, alone, atol=1e-5)


def test_no_image_sees_the_other_before_the_transformer() -> None:
    network, image = small().eval(), torch.rand(1, 2, 32, 32)
    other = image.clone()
    other[:, 1] = torch.rand(1, 32, 32)
    first, second = (network._maps(pair[:, :1]) for pair in (image, other))
    assert torch.equal(first, second)
    assert not torch.allclose(
        network.encode(image)[0][:, ::4], network.encode(other)[0][:, ::4]
    )  # cells of the left one


def test_cells_are_coded_by_their_centres_on_the_canvas() -> None:
    network = small()
    code = network.encode(torch.rand(1, 2, 32, 32))[1][0]  # 2 rows of 4 cells
    centres = torch.tensor([[(column + 0.5) / 4, (row + 0.5) / 2] for row in range(2) for column in range(4)])
    assert torch.allclose(code, position_code(centres, 4))


@pytest.mark.parametrize("placed", [False, True])
def test_positions_are_collected_only_if_placed(placed) -> None:
    """Cells of no content: without positions in what attention collects, all queries get one answer."""
    network = small(placed=placed, layers=1).eval()
    code = position_code(torch.rand(1, 12, 2), 4)
    found = network.decode(torch.zeros(1, 12, 16), code, torch.rand(1, 6, 2))
    assert bool(found.std(dim=1).max() > 1e-3) is placed


def test_two_stages_make_finer_cells() -> None:
    cells, _ = small(blocks=(1, 1), channels=(8, 8)).encode(torch.rand(1, 2, 32, 32))
    assert cells.shape == (1, 4 * 8, 16)


def test_gradients_reach_every_parameter() -> None:
    network = small()
    CycleCOTR(network)(torch.rand(1, 2, 32, 32), torch.rand(1, 3, 2)).sum().backward()
    assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


def test_asked_twice_asks_its_answers() -> None:
    network, image, queries = small().eval(), torch.rand(1, 2, 32, 32), torch.rand(1, 3, 2)
    answers, back = CycleCOTR(network)(image, queries).split(2, dim=2)
    assert torch.equal(answers, network(image, queries))
    assert torch.equal(back, network(image, answers))


def test_batch_normalisation_keeps_its_statistics_in_training() -> None:
    network = small(normalisation="batch").train()
    norm = network.backbone.bn1
    assert isinstance(norm, nn.BatchNorm2d)
    before = norm.running_mean.clone()
    network(torch.rand(2, 2, 32, 32), torch.rand(2, 1, 2))
    assert torch.equal(norm.running_mean, before)
    assert network.encoder[0].training


def test_keys_and_shapes_of_the_authors_checkpoint_fit() -> None:
    """Their names, from the public code: a ResNet-50 to its third stage, a DETR-like transformer, an MLP."""
    network = COTR()
    renamed = {
        "backbone.": "backbone.0.body.", "encoder.": "transformer.encoder.layers.",
        "decoder.": "transformer.decoder.layers.", "norm.": "transformer.decoder.norm.", "head.": "corr_embed.layers.",
    }  # fmt: skip
    published = {"transformer.decoder.layers.0.norm1.weight": torch.zeros(256), "query_proj.other": torch.zeros(1)}
    for key, value in network.state_dict().items():
        old = next((o + key.removeprefix(n) for n, o in renamed.items() if key.startswith(n)), key)
        published[old] = value
    shapes = {
        "backbone.0.body.conv1.weight": (64, 3, 7, 7),
        "backbone.0.body.layer3.5.conv3.weight": (1024, 256, 1, 1),
        "backbone.0.body.layer2.0.downsample.0.weight": (512, 256, 1, 1),
        "input_proj.weight": (256, 1024, 1, 1),
        "transformer.encoder.layers.5.self_attn.in_proj_weight": (768, 256),
        "transformer.encoder.layers.5.linear1.weight": (1024, 256),
        "transformer.decoder.layers.5.multihead_attn.out_proj.weight": (256, 256),
        "transformer.decoder.layers.5.norm3.bias": (256,),
        "corr_embed.layers.2.weight": (2, 256),
    }
    assert {key: tuple(published[key].shape) for key in shapes} == shapes
    assert not any("layer4" in key for key in published)
    missing, unexpected = network.load_state_dict(published_state(published), strict=False)
    assert missing == []
    assert unexpected == ["decoder.0.norm1.weight"]


@pytest.mark.parametrize("shape", [(1, 1, 32, 32), (1, 2, 32, 48), (1, 2, 40, 40), (2, 32, 32)])
def test_other_images_are_refused(shape) -> None:
    with pytest.raises(InputError, match="two square images"):
        small().encode(torch.zeros(shape))


def test_a_width_that_does_not_go_by_its_heads_is_refused() -> None:
    with pytest.raises(InputError, match="4 heads, got 18"):
        small(width=18)
