"""Training of a patch pyramid: it learns, goes on as if never stopped, and keeps several processes in step."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from ignite.engine import Events
from monai.data import Dataset
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.engines import GradientExchange, PatchTrainer, level_optimizers, level_schedulers
from custom_components.fields import identity_grid, invert, sample, warp
from custom_components.handlers import SchedulerSteps, TrainingCheckpoint, TrainingCurve, select_losses
from custom_components.inferers import PatchPyramid
from custom_components.inferers.result import Estimate, PairImages
from custom_components.losses import CurvatureLoss, PatchNCCLoss, WindowedNCCLoss
from custom_components.networks import NetworkPyramid, PatchUNet
from custom_components.transforms import RandPairAugmentd

PATCH = 32


def smooth(shape: Sequence[int], sigma: float, seed: int) -> Tensor:
    """Smooth noise that spans -1..1."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=tuple(shape)), [0, *[sigma] * (len(shape) - 1)])
    return torch.from_numpy(noise / np.abs(noise).max()).float()


def known_pair(shape: tuple[int, int] = (64, 64), seed: int = 0, amplitude: float = 2.5) -> tuple[dict, Tensor]:
    """A prepared pair and the field (1, 2, H, W) that aligns it."""
    fixed = (smooth((1, *shape), 2.0, seed)[None] + 1) / 2
    bend = smooth((2, *shape), 12.0, seed + 100)[None] * amplitude
    moving = sample(fixed, identity_grid(shape)[None] + bend)
    mask = torch.ones(1, *shape)
    data = {"working_moving": moving[0], "working_fixed": fixed[0], "mask_moving": mask, "mask_fixed": mask.clone()}
    return data, invert(bend)[0]


def flat_pair(shape: tuple[int, int] = (64, 64)) -> dict[str, Tensor]:
    image, mask = torch.full((1, *shape), 0.5), torch.ones(1, *shape)
    return {"working_moving": image, "working_fixed": image, "mask_moving": mask, "mask_fixed": mask}


def pyramid_of(scales: Sequence[float] = (0.5, 1.0), **options: Any) -> PatchPyramid:
    torch.manual_seed(0)
    network = NetworkPyramid(PatchUNet(channels=(4, 8, 8), head_channels=(4,)), len(scales))
    return PatchPyramid(network, scales, **{"iterations": 2, "patch_size": PATCH, "batch_size": 4, **options})


def trainer_of(data: Sequence[dict], pyramid: PatchPyramid, rate: float = 1e-3, **options: Any) -> PatchTrainer:
    optimizers = level_optimizers(pyramid.network, rate)
    settings = {"similarity": WindowedNCCLoss(kernel_size=9), "regulariser": CurvatureLoss(), "weights": 10.0}
    return PatchTrainer(Dataset(list(data)), pyramid, **{"optimizers": optimizers, **settings, **options})


def weights_path(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_a_known_warp_is_learned():
    data, truth = known_pair((64, 64))
    pyramid = pyramid_of(batch_size=2)
    trainer_of([data], pyramid, rate=3e-3, max_epochs=16).run()
    images = PairImages(*(data[key][None] for key in data))
    found = pyramid(images, Estimate.identity(images.shape)).ddf
    inner = (..., slice(8, -8), slice(8, -8))
    before, after = (field.norm(dim=1)[inner].mean() for field in (truth, found - truth))
    assert before > 0.5
    assert after < 0.5 * before
    assert (warp(images.moving, found) - images.fixed)[inner].abs().mean() < 0.05


def stoppable(folder: Path, epochs: int) -> PatchTrainer:
    """A training of two pairs with all that has a state or draws."""
    pyramid = pyramid_of()
    trainer = trainer_of(
        [known_pair(seed=seed)[0] for seed in (1, 2, 3)], pyramid, max_epochs=epochs,
        augmentation=RandPairAugmentd(), finest_patches=3, seed=7,
    )  # fmt: skip
    optimizers = [exchange.optimizer for exchange in trainer.exchanges]
    schedulers = level_schedulers(optimizers, 0.5)
    parts = {"network": pyramid.network, "optimizers": optimizers, "schedulers": schedulers}
    for handler in (SchedulerSteps(schedulers), TrainingCheckpoint(folder / "checkpoint.pt", parts)):
        handler.attach(trainer)
    return trainer


def test_a_training_taken_up_again_ends_with_the_same_weights_to_the_last_bit(tmp_path):
    whole = stoppable(tmp_path / "whole", 3)
    whole.run()
    first = stoppable(tmp_path / "parts", 1)
    first.run()
    torch.manual_seed(99)  # chance of the process must not matter
    np.random.seed(99)  # noqa: NPY002
    second = stoppable(tmp_path / "parts", 3)
    second.run()
    assert not torch.equal(weights_path(first.network), weights_path(whole.network))
    assert torch.equal(weights_path(second.network), weights_path(whole.network))
    rates = [[e.optimizer.param_groups[0]["lr"] for e in trainer.exchanges] for trainer in (whole, second)]
    assert rates[0] == rates[1] == [1e-3 / 8] * 2


def test_the_output_has_the_means_of_every_level():
    outputs: list[dict[str, float]] = []
    trainer = trainer_of([known_pair()[0]], pyramid_of(), max_epochs=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output))
    trainer.run()
    names = {"loss", "similarity_0", "similarity_1", "regularity_0", "regularity_1"}
    assert set(outputs[0]) == names
    assert np.isfinite(list(outputs[0].values())).all()


@pytest.mark.parametrize("similarity", [WindowedNCCLoss(kernel_size=9), PatchNCCLoss()])
def test_patches_without_contrast_leave_the_weights_finite(similarity, tmp_path):
    amp = known_pair()[0]
    for key in ("working_moving", "working_fixed"):
        amp[key][..., :40] = 0
    nearly = flat_pair()
    nearly["working_fixed"] = nearly["working_fixed"] + 2e-3 * (torch.rand(1, 64, 64) - 0.5)
    nearly["working_moving"] = nearly["working_fixed"].clone()
    untissued = known_pair()[0]
    untissued["mask_fixed"] = torch.zeros(1, 64, 64)
    trainer = trainer_of([amp, nearly, untissued], pyramid_of(), max_epochs=2, similarity=similarity)
    trainer.run()
    assert bool(torch.isfinite(weights_path(trainer.network)).all())


def test_a_pair_without_any_contrast_changes_nothing_and_has_no_figures(tmp_path):
    pyramid = pyramid_of()
    before = weights_path(pyramid.network)
    curve = TrainingCurve(tmp_path / "curve.csv")
    trainer = trainer_of([flat_pair()], pyramid, max_epochs=1, handlers=[curve])
    trainer.run()
    assert torch.equal(weights_path(pyramid.network), before)
    assert select_losses(trainer.state.output) == {}
    assert (tmp_path / "curve.csv").read_text().startswith("epoch,seconds")


def test_images_smaller_than_a_patch_are_trained_on():
    trainer = trainer_of([known_pair((20, 41))[0]], pyramid_of(), max_epochs=1)
    before = weights_path(trainer.network)
    trainer.run()
    assert not torch.equal(weights_path(trainer.network), before)


def finest_patches_seen(seed: int, wanted: int | None = 2) -> list[list[tuple[int, ...]]]:
    """First voxels of the patches of each look at the finest level."""
    trainer = trainer_of([known_pair()[0]], pyramid_of(batch_size=16), max_epochs=2, finest_patches=wanted, seed=seed)
    seen: list[list[tuple[int, ...]]] = []
    learn = trainer._learn

    def spy(group, index, loss_terms):
        if index == 1:
            seen.append([patch.start for patch in group.patches])
        return learn(group, index, loss_terms)

    trainer._learn = spy
    trainer.run()
    return seen


def test_the_last_look_takes_some_patches_drawn_by_seed_and_epoch():
    seen = finest_patches_seen(0)
    assert [len(starts) for starts in seen] == [9, 2, 9, 2]  # two looks, two epochs
    assert seen[1] != seen[3]
    assert finest_patches_seen(0) == seen
    assert finest_patches_seen(1) != seen
    assert [len(starts) for starts in finest_patches_seen(0, None)] == [9] * 4


def test_a_step_is_clipped_to_the_largest_norm():
    norms: list[float] = []
    pyramid = pyramid_of()
    trainer = trainer_of([known_pair()[0]], pyramid, max_epochs=1, clip=1e-3, weights=1e6)
    for exchange in trainer.exchanges:
        step = exchange.step

        def spy(patches, step=step, exchange=exchange):
            if patches:
                norms.append(float(torch.cat([p.grad.flatten() for p in exchange.parameters]).norm()))
            return step(patches)

        exchange.step = spy
    trainer.run()
    assert max(norms) == pytest.approx(1e-3, rel=1e-2)


def test_numbers_of_levels_that_differ_are_named():
    pyramid = pyramid_of()
    data = [known_pair()[0]]
    one = [torch.optim.Adam(pyramid.network.levels[0].parameters())]
    with pytest.raises(InputError, match="2 scales, but 2 networks, 1 optimisers and 2 weights"):
        trainer_of(data, pyramid, optimizers=one)
    with pytest.raises(InputError, match="2 scales, but 2 networks, 2 optimisers and 3 weights"):
        trainer_of(data, pyramid, weights=[1.0, 2.0, 3.0])
    three = PatchPyramid(pyramid.network, (0.25, 0.5, 1.0), 1, PATCH)
    with pytest.raises(InputError, match="3 scales, but 2 networks, 2 optimisers"):
        trainer_of(data, three)


def test_without_pairs_the_message_says_what_to_give():
    with pytest.raises(InputError, match=r"no pairs to train on: give --pairs TABLE\.csv"):
        trainer_of([], pyramid_of()).run()


# Two processes. A process of its own has to import this file, so what it runs stands here.
SAMPLES = [[4, 2, 3], [1]]  # of every group of each rank


def list_inputs(rank: int, group: int) -> Tensor:
    return torch.randn(SAMPLES[rank][group], 3, generator=torch.Generator().manual_seed(10 * rank + group))


def line() -> tuple[nn.Linear, torch.optim.SGD]:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


def loss_of(network: nn.Linear, samples: Tensor) -> Tensor:
    return network(samples).square().sum(1).mean()


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    limit = timedelta(seconds=60)  # a process that waits in vain fails
    dist.init_process_group("gloo", f"file://{folder}/meeting", limit, rank=rank, world_size=2)
    network, optimizer = line()
    exchange = GradientExchange(network, optimizer)
    for group, samples in enumerate(SAMPLES[rank]):
        loss_of(network, list_inputs(rank, group)).backward()
        assert exchange.step(samples)
    exchange.drain()
    exchange.drain()  # nobody has anything left: returns at once
    # unequal pairs, the third flat; an odd number of them, so that one is seen twice
    data = [known_pair((96, 64), 1)[0], known_pair((40, 40), 2)[0], flat_pair()]
    pyramid = pyramid_of(batch_size=2)
    curve = TrainingCurve(folder / "curve.csv")
    checkpoint = TrainingCheckpoint(folder / "checkpoint.pt", {"network": pyramid.network})
    trainer = trainer_of(
        data, pyramid, max_epochs=2, augmentation=RandPairAugmentd(), finest_patches=2, handlers=[curve, checkpoint]
    )
    trainer.run()
    torch.save({"line": weights_path(network), "pyramid": weights_path(pyramid.network)}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, (folder,), nprocs=2)
    return folder


@pytest.mark.slow
def test_processes_with_different_numbers_of_groups_end_with_equal_weights(two_processes):
    first, second = (torch.load(two_processes / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(first["line"], second["line"])
    assert torch.equal(first["pyramid"], second["pyramid"])
    assert not torch.equal(first["pyramid"], weights_path(pyramid_of().network))
    assert bool(torch.isfinite(first["pyramid"]).all())


@pytest.mark.slow
def test_their_steps_are_those_of_one_process_with_all_samples(two_processes):
    network, optimizer = line()
    for group in range(3):
        taking_part = [rank for rank in (0, 1) if group < len(SAMPLES[rank])]
        optimizer.zero_grad()
        loss_of(network, torch.cat([list_inputs(rank, group) for rank in taking_part])).backward()
        optimizer.step()
    assert torch.allclose(torch.load(two_processes / "0.pt")["line"], weights_path(network), atol=1e-6)


@pytest.mark.slow
def test_one_of_them_writes_and_the_curve_is_over_all(two_processes):
    rows = (two_processes / "curve.csv").read_text().splitlines()
    assert len(rows) == 3
    assert torch.load(two_processes / "checkpoint.pt")["epoch"] == 2


def test_alone_a_step_is_the_optimisers():
    (network, optimizer), (expected, plain) = line(), line()
    samples = list_inputs(0, 0)
    loss_of(network, samples).backward()
    loss_of(expected, samples).backward()
    plain.step()
    exchange = GradientExchange(network, optimizer)
    assert not exchange.step(0)
    assert exchange.step(4)
    assert torch.equal(weights_path(network), weights_path(expected))
    assert all(parameter.grad is None for parameter in network.parameters())
