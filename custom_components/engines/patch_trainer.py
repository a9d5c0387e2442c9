"""Trains the networks of a patch pyramid without labels, all levels in one pass over each pair.

Source: Wodzinski & Mueller, MLMI 2020: an optimiser per level, a step per group of patches, nothing propagated back
through groups, iterations or levels. Differences: the regulariser sees the composed field, not the step alone, so that
many small steps can't add up to a torn field; similarity counts where both images show tissue.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, cast

import ignite.distributed as idist
import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Engine
from monai.data import DataLoader, Dataset
from monai.engines import Trainer
from monai.transforms import Randomizable
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data.distributed import DistributedSampler

from custom_components.common.errors import InputError
from custom_components.engines.pair_evaluator import Data, to_pair_images
from custom_components.fields import resize
from custom_components.inferers.patch_pyramid import PatchGroup, PatchPyramid, improve, level_images
from custom_components.inferers.patches import plan_patches


class GradientExchange:
    """Keeps the processes of a distributed training in step although their pairs have different numbers of patches.

    Every process takes every optimiser step with the same averaged gradient, so their networks stay equal; one that has
    no group left takes part with nothing. Alone, it only steps.
    """

    def __init__(self, network: nn.Module, optimizer: Optimizer) -> None:
        self.parameters = list(network.parameters())
        self.optimizer = optimizer

    def step(self, patches: int) -> bool:
        """One step with the gradients at hand, weighted by ``patches``; whether any process had some.

        Args:
            patches: that the gradients are the mean over; 0 for a process that is done.
        """
        if idist.get_world_size() > 1:
            total = torch.tensor(float(patches), device=self.parameters[0].device)
            dist.all_reduce(total)
            if total == 0:
                return False
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.mul_(patches / float(total))
                dist.all_reduce(parameter.grad)
        elif patches == 0:
            return False
        self.optimizer.step()
        self.optimizer.zero_grad()
        return True

    def drain(self) -> None:
        """Take part until no process has a group left."""
        while idist.get_world_size() > 1 and self.step(0):
            pass


class PatchTrainer(Trainer):
    """Trains ``inferer.network`` on pairs; see the module's text.

    ``engine.state.output`` holds the means over the pair's groups: ``loss``, and ``similarity_<level>`` and
    ``regularity_<level>``; those of levels without a patch that has contrast are missing.

    Args:
        dataset: of prepared pairs, such as ``training_pairs`` gives.
        inferer: whose network, levels, patches and iterations are trained.
        optimizers: one a level, over ``inferer.network.levels[level]``.
        similarity: of (warped, fixed, mask), lower is better.
        regulariser: of the composed field, level voxels.
        weights: of the regulariser, one a level or one for all.
        max_epochs: passes over the dataset.
        augmentation: called on every pair; its random state is set from ``seed``, epoch and iteration, so a training
            that was stopped goes on as if it had not been.
        seed: of the order of the pairs, the augmentation and the draw of ``finest_patches``.
        finest_patches: patches drawn at the last look at the finest level, whose field nobody uses afterwards; None
            takes all.
        clip: largest norm of a step's gradient.
        device: where the network is and the images are put.
        handlers: Ignite handlers.

    Raises:
        InputError: the numbers of scales, networks, optimisers and weights differ.
    """

    def __init__(
        self,
        dataset: Dataset,
        inferer: PatchPyramid,
        optimizers: Sequence[Optimizer],
        similarity: nn.Module,
        regulariser: nn.Module,
        weights: float | Sequence[float] = 1.0,
        max_epochs: int = 100,
        augmentation: Any = None,
        seed: int = 0,
        finest_patches: int | None = None,
        clip: float = 1.0,
        device: str | torch.device = "cpu",
        handlers: Sequence[Any] = (),
    ) -> None:
        rank, size = idist.get_rank(), idist.get_world_size()
        # set_epoch, which MONAI calls, makes the order of an epoch a function of seed and epoch alone
        sampler: Any = DistributedSampler(dataset, size, rank, shuffle=True, seed=seed) if len(dataset) else None
        super().__init__(
            device=torch.device(device), max_epochs=max_epochs, prepare_batch=lambda *_: None,
            data_loader=DataLoader(dataset, batch_size=1, sampler=sampler, collate_fn=list),
            epoch_length=-(-len(dataset) // size) or None, iteration_update=self._train, handlers=list(handlers),
        )  # fmt: skip
        levels = len(inferer.scales)
        self.inferer = inferer
        self.network = cast(Any, inferer.network)  # mypy takes the attributes of a Module for tensors
        self.weights = [weights] * levels if isinstance(weights, int | float) else list(weights)
        if not len(self.network.levels) == len(optimizers) == len(self.weights) == levels:
            raise InputError(
                f"{levels} scales, but {len(self.network.levels)} networks, {len(optimizers)} optimisers and "
                f"{len(self.weights)} weights"
            )
        self.exchanges = [GradientExchange(*part) for part in zip(self.network.levels, optimizers, strict=True)]
        self.similarity = similarity.to(self.state.device)
        self.regulariser = regulariser.to(self.state.device)
        self.augmentation = augmentation
        self.seed = seed
        self.rank = rank
        self.finest_patches = finest_patches
        self.clip = clip

    def run(self) -> None:
        """Train.

        Raises:
            InputError: there are no pairs.
        """
        if len(self.data_loader.dataset) == 0:
            raise InputError("no pairs to train on: give --pairs TABLE.csv")
        super().run()

    def _train(self, engine: Engine, batch: list[Data]) -> dict[str, float]:
        self.network.train()
        rng = np.random.RandomState([self.seed, engine.state.epoch, engine.state.iteration, self.rank])
        data = batch[0]
        if isinstance(self.augmentation, Randomizable):
            self.augmentation.set_random_state(state=rng)
        if self.augmentation is not None:
            data = self.augmentation(data)
        device = torch.device(self.state.device)
        images = to_pair_images(data, device)
        loss_terms: dict[str, list[float]] = defaultdict(list)
        residual = torch.zeros(1, 2, *images.shape, device=device)
        pyramid = self.inferer
        for index, scale in enumerate(pyramid.scales):
            level = level_images(images, np.eye(3), scale, masks=True)
            residual = resize(residual, level.shape)
            patches = plan_patches(level.shape, pyramid.patch_size[index], pyramid.stride[index])
            for iteration in range(pyramid.iterations[index]):
                last = index == len(pyramid.scales) - 1 and iteration == pyramid.iterations[index] - 1
                if last and self.finest_patches is not None:
                    drawn = rng.permutation(len(patches))[: self.finest_patches]
                    patches = [patches[i] for i in sorted(drawn)]

                def learn(group: PatchGroup, index: int = index) -> Tensor:
                    return self._learn(group, index, loss_terms)

                residual = improve(
                    level, residual, patches, [learn], [device], pyramid.patch_size[index], pyramid.batch_size
                )
                self.exchanges[index].drain()
        return {name: float(np.mean(values)) for name, values in loss_terms.items()}

    def _learn(self, group: PatchGroup, index: int, loss_terms: dict[str, list[float]]) -> Tensor:
        step: Tensor = self.network(group.image, index)
        composed = group.composed(step)
        mask = group.common_mask(step.detach())
        similarity = self.similarity(group.warped(step), group.fixed, mask)
        regularization = self.regulariser(composed)
        loss = similarity + self.weights[index] * regularization
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.levels[index].parameters(), self.clip)
        self.exchanges[index].step(len(group.patches))
        loss_terms["loss"].append(loss.item())
        loss_terms[f"similarity_{index}"].append(similarity.item())
        loss_terms[f"regularity_{index}"].append(regularization.item())
        return step.detach()
