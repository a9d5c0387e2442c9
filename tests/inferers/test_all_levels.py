from __future__ import annotations

import pytest
import torch
from torch import nn

from custom_components.common.errors import InputError
from custom_components.inferers import AllLevels, AllPredictions
from custom_components.networks import MaskFlownetS


@pytest.fixture
def network() -> MaskFlownetS:
    torch.manual_seed(0)
    return MaskFlownetS(
        channels=(4, 5, 6, 7, 8, 9), estimator_channels=(6, 5), context_channels=(4,) * 6, up_channels=3, radius=2
    )


def test_it_gives_the_fields_of_all_levels(network) -> None:
    image = torch.rand(1, 2, 64, 70)
    fields = AllLevels()(image, network)
    assert len(fields) == 5
    for field, wanted in zip(fields, network.predictions(image), strict=True):
        assert torch.equal(field, wanted)


def test_a_network_that_gives_all_by_itself_is_taken_as_it_is(network) -> None:
    image = torch.rand(1, 2, 64, 70)
    whole = AllPredictions(network)
    assert {id(p) for p in whole.parameters()} == {id(p) for p in network.parameters()}
    for field, wanted in zip(AllLevels()(image, whole), network.predictions(image), strict=True):
        assert torch.equal(field, wanted)


def test_half_precision_gives_float32_fields_and_gradients(network) -> None:
    image = torch.rand(1, 2, 64, 70)
    dtypes = set()
    network.context.register_forward_hook(lambda _m, _i, out: dtypes.add(out.dtype))
    fields = AllLevels(amp=True)(image, network)
    assert dtypes == {torch.bfloat16}
    assert {field.dtype for field in fields} == {torch.float32}
    fields[-1].square().mean().backward()
    gradients = [p.grad for p in network.context.parameters()]
    assert all(g is not None and g.dtype == torch.float32 and g.isfinite().all() for g in gradients)


def test_a_network_of_one_level_is_refused() -> None:
    with pytest.raises(InputError, match="Conv2d has no method predictions"):
        AllLevels()(torch.rand(1, 2, 8, 8), nn.Conv2d(2, 2, 3))
