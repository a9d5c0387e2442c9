"""Where the proposals of a ballot lie about a field, as planes over displacements beside those of local costs."""

from __future__ import annotations

import torch
from torch import Tensor

from custom_components.fields import sample
from custom_components.inferers.ballot import Ballot
from custom_components.inferers.flow_refinement import flow_to_ddf
from custom_components.networks.displacement_decoder import LEVELS

VOTES = 2  # planes of a level


def vote_planes(ballot: Ballot, residual: Tensor, points: Tensor, factor: float = 1.0) -> tuple[Tensor, ...]:
    """How many proposals lie near each displacement from the field.

    Args:
        ballot: the proposals, on the grid of the field.
        residual: (1, 2, H, W) voxels, the field.
        points: (N, 2) voxels.
        factor: by which the grid of ``LEVELS`` is coarser than that of the field.

    Returns:
        One (N, 2, K, K) a level: the mean of Gaussian bumps at all proposals, each by its agreement there and back, and
        their sum by shares of the vote.
    """
    where = points.float().T.reshape(1, 2, -1, 1)

    def there(values: Tensor) -> Tensor:  # (1, C, H, W) -> (N, C)
        return sample(values.float().cpu(), where)[0, :, :, 0].T

    base = there(residual)
    apart = torch.stack([(there(flow_to_ddf(flow)) - base) * factor for flow in ballot.flows], dim=1)
    sure, shares = (there(torch.from_numpy(values)[None]) for values in (ballot.sure, ballot.shares))
    found = []
    for level in LEVELS:
        squared = (apart[:, :, None] - level.offsets).square().sum(-1)
        bumps = torch.exp(squared / (-2 * level.factor**2))
        weights = torch.stack([sure / sure.shape[1], sure * shares], dim=1)
        found.append(
            torch.einsum("nvk,nkd->nvd", weights, bumps).unflatten(2, (2 * level.reach + 1, 2 * level.reach + 1))
        )
    return tuple(found)
