"""SuperGlue: the published names, attention as PyTorch's, an assignment whose sums are known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.networks import SuperGlue
from custom_components.networks.super_glue import Attention, centred, log_assignment, log_sinkhorn

# Some of the published file.
PUBLISHED = {
    "bin_score": (),
    "kenc.encoder.0.weight": (32, 3, 1),
    "kenc.encoder.1.running_mean": (32,),
    "kenc.encoder.3.weight": (64, 32, 1),
    "kenc.encoder.10.weight": (256,),
    "kenc.encoder.12.bias": (256,),
    "gnn.layers.0.attn.merge.weight": (256, 256, 1),
    "gnn.layers.0.attn.proj.0.weight": (256, 256, 1),
    "gnn.layers.17.attn.proj.2.bias": (256,),
    "gnn.layers.17.mlp.0.weight": (512, 512, 1),
    "gnn.layers.5.mlp.1.running_var": (512,),
    "gnn.layers.5.mlp.3.weight": (256, 512, 1),
    "final_proj.bias": (256,),
}
ONE_LAYER = 4 * (256 * 256 + 256) + (512 * 512 + 512) + 2 * 512 + (512 * 256 + 256)
ENCODER = sum(i * o + o for i, o in ((3, 32), (32, 64), (64, 128), (128, 256), (256, 256))) + 2 * (32 + 64 + 128 + 256)

Sides = tuple[Tensor, Tensor]


def test_the_parameters_are_named_and_sized_as_published() -> None:
    with torch.device("meta"):
        network = SuperGlue()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert PUBLISHED.items() <= shapes.items()
    prefixes = {".".join(part for part in name.split(".")[:-1] if not part.isdigit()) for name in shapes}
    assert prefixes == {"", "kenc.encoder", "gnn.layers.attn.merge", "gnn.layers.attn.proj", "gnn.layers.mlp",
                        "final_proj"}  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == ENCODER + 18 * ONE_LAYER + 256 * 256 + 256 + 1 == 12_023_297


def small(layers: int = 3) -> SuperGlue:
    torch.manual_seed(0)
    network = SuperGlue(width=16, layers=layers, heads=4, encoder=(8, 12), iterations=30).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return network


def keypoints(seed: int = 0, sizes: tuple[int, int] = (7, 5), batch: int = 2) -> tuple[Sides, Sides, Sides]:
    generator = torch.Generator().manual_seed(seed)
    places = tuple(torch.rand(batch, n, 2, generator=generator) - 0.5 for n in sizes)
    scores = tuple(torch.rand(batch, n, generator=generator) for n in sizes)
    described = tuple(F.normalize(torch.randn(batch, n, 16, generator=generator), dim=2) for n in sizes)
    return places, scores, described  # type: ignore[return-value]


def test_the_pairs_and_the_bins_share_all_keypoints() -> None:
    probability = small()(*keypoints()).exp()
    assert probability.shape == (2, 8, 6)
    torch.testing.assert_close(probability.sum(dim=1), torch.tensor([1.0] * 5 + [7.0]).expand(2, -1))
    torch.testing.assert_close(probability.sum(dim=2), torch.tensor([1.0] * 7 + [5.0]).expand(2, -1), atol=1e-3, rtol=0)


def test_another_order_of_the_keypoints_gives_the_same_pairs_in_that_order() -> None:
    network, inputs = small(), keypoints()
    orders = torch.tensor([4, 2, 6, 0, 1, 5, 3]), torch.tensor([3, 0, 4, 1, 2])
    mixed = [tuple(side[:, order] for side, order in zip(pair, orders, strict=True)) for pair in inputs]
    expected = network(*inputs)[:, [*orders[0].tolist(), 7]][:, :, [*orders[1].tolist(), 5]]
    torch.testing.assert_close(network(*mixed), expected, atol=1e-5, rtol=1e-5)


def test_exchanging_the_images_transposes_the_pairs() -> None:
    network, inputs = small(), keypoints()
    swapped = network(*(pair[::-1] for pair in inputs))
    torch.testing.assert_close(swapped.transpose(1, 2).exp(), network(*inputs).exp(), atol=1e-3, rtol=1e-3)


def test_the_first_layer_asks_the_own_image_and_the_second_the_other() -> None:
    torch.manual_seed(0)
    one, two = torch.randn(1, 16, 7), torch.randn(1, 16, 5)
    changed = two + 1
    first = small(1).gnn
    assert torch.equal(first(one, two)[0], first(one, changed)[0])
    second = small(2).gnn
    assert not torch.allclose(second(one, two)[0], second(one, changed)[0])
    layer = second.layers[0]
    torch.testing.assert_close(first(one, two)[1], two + first.layers[0](two, two))
    after = one + layer(one, one), two + layer(two, two)
    torch.testing.assert_close(second(one, two)[1], after[1] + second.layers[1](after[1], after[0]))


def test_all_of_a_keypoint_counts() -> None:
    network, inputs = small(), keypoints()
    plain = network(*inputs)
    for which in range(3):
        changed = list(inputs)
        changed[which] = (inputs[which][0] * 0.5, inputs[which][1])
        assert not torch.allclose(network(*changed), plain)


def test_attention_equals_that_of_pytorch_with_interleaved_heads() -> None:
    torch.manual_seed(0)
    width, heads = 12, 3
    attention, other = Attention(width, heads), nn.MultiheadAttention(width, heads, batch_first=True)
    # theirs has the channels of a head side by side, here they are apart by the number of heads
    order = torch.arange(width).view(-1, heads).T.flatten()
    projections = [projection.weight[order, :, 0] for projection in attention.proj]
    other.in_proj_weight.data = torch.cat(projections)
    other.in_proj_bias.data = torch.cat([projection.bias[order] for projection in attention.proj])
    other.out_proj.weight.data = attention.merge.weight[:, order, 0]
    other.out_proj.bias.data = attention.merge.bias
    x, source = torch.randn(2, width, 5), torch.randn(2, width, 7)
    asked = source.transpose(1, 2)
    expected = other(x.transpose(1, 2), asked, asked, need_weights=False)[0].transpose(1, 2)
    torch.testing.assert_close(attention(x, source), expected, atol=1e-5, rtol=1e-5)


def test_heads_that_cannot_share_the_channels_are_refused() -> None:
    with pytest.raises(InputError, match="3 heads can't share 16 channels"):
        SuperGlue(width=16, heads=3)


def test_places_are_x_and_y_from_the_centre() -> None:
    corners = torch.tensor([[0.0, 0.0], [100.0, 200.0], [50.0, 100.0], [50.0, 170.0]])
    expected = torch.tensor([[-100.0, -50.0], [100.0, 50.0], [0.0, 0.0], [70.0, 0.0]]) / 140
    torch.testing.assert_close(centred(corners, (100, 200)), expected)


@pytest.mark.parametrize(("score", "nothing"), [(3.0, 1.0), (-2.0, 1.0), (0.5, 0.5), (8.0, -4.0)])
def test_one_keypoint_each_is_matched_with_the_known_probability(score: float, nothing: float) -> None:
    """Of 2 x 2 entries with sums of 1, p on the diagonal: (p / (1 - p))**2 is the ratio of the diagonals' products."""
    found = log_assignment(torch.tensor([[[score]]]), torch.tensor(nothing), iterations=2000).exp()[0]
    p = 1 / (1 + math.exp((nothing - score) / 2))
    torch.testing.assert_close(found, torch.tensor([[p, 1 - p], [1 - p, p]]))


def test_sinkhorn_equals_scaling_rows_and_columns_by_turns() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 4, 6, generator=generator).double()
    rows, columns = (torch.rand(2, n, generator=generator).double() + 0.1 for n in (4, 6))
    columns *= (rows.sum(dim=1) / columns.sum(dim=1))[:, None]
    matrix = scores.exp()
    for _ in range(7):
        matrix *= (rows / matrix.sum(dim=2))[:, :, None]
        matrix *= (columns / matrix.sum(dim=1))[:, None, :]
    torch.testing.assert_close(log_sinkhorn(scores, rows.log(), columns.log(), 7).exp(), matrix)
    limit = log_sinkhorn(scores, rows.log(), columns.log(), 200).exp()
    torch.testing.assert_close(limit.sum(dim=1), columns)
    torch.testing.assert_close(limit.sum(dim=2), rows)


def test_sinkhorn_takes_scores_whose_exponential_overflows() -> None:
    found = log_assignment(torch.tensor([[[500.0, 0.0], [0.0, 500.0]]]), torch.tensor(1.0), iterations=20).exp()
    torch.testing.assert_close(found[0, :2, :2], torch.eye(2), atol=0.05, rtol=0)
    torch.testing.assert_close(found.sum(dim=1), torch.tensor([[1.0, 1.0, 2.0]]))
