"""Landmarks teach the decoder to follow the measure that works."""

from __future__ import annotations

import pytest
import torch

from benchmarks.displacement_decoder import Costs, check, corrections, errors, fit, moved_as, seen_as, train
from custom_components.fields import sample_at
from custom_components.networks.displacement_decoder import LEVELS, PLANES, DisplacementDecoder


def peaks(wanted: torch.Tensor, seed: int) -> tuple[torch.Tensor, ...]:
    """Costs of noise, of which every second channel has a peak at the wanted displacement."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for level in LEVELS:
        side = 2 * level.reach + 1
        apart = (level.offsets[None] - wanted[:, None]).norm(dim=2) / (2 * level.factor)
        peak = torch.exp(-apart.square()).reshape(-1, 1, side, side)
        planes = 0.1 * torch.rand(len(wanted), PLANES, side, side, generator=draw)
        planes[:, ::2] += peak
        found.append(planes)
    return tuple(found)


def made(number: int, places: int = 60) -> Costs:
    wanted = 1.5 * torch.randn(places, 2, generator=torch.Generator().manual_seed(number))
    here = peaks(wanted, number)
    return Costs(f"pair {number}", f"case {number % 4}", 600.0, here, tuple(level.mean(0) for level in here), wanted)


@pytest.fixture(scope="module")
def costs() -> list[Costs]:
    return [made(number) for number in range(4)]


def test_the_peaks_are_found(costs) -> None:
    before, after, _ = errors(train(costs), made(99))
    assert after.median() < 0.5 * before.median()


def test_check_and_fit_read_what_was_collected(costs, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.recorded.FOLDS", 2)
    monkeypatch.setattr("benchmarks.displacement_decoder.EPOCHS", 6)
    torch.save([vars(one) for one in costs], tmp_path / "costs.pt")
    rows = check(str(tmp_path / "costs.pt")).splitlines()
    before, after = (float(row.split("|")[2]) for row in rows[2:4])
    assert after < 0.8 * before
    assert "better on 4 pairs" in rows[-1]
    assert "4 pairs of 4 tissue cases" in fit(str(tmp_path / "costs.pt"), str(tmp_path / "decoder.pt"))
    assert DisplacementDecoder.read(tmp_path / "decoder.pt").scale.min() > 0


@pytest.mark.parametrize("view", range(8))
def test_costs_and_displacements_are_seen_the_same_way(view) -> None:
    wanted = torch.tensor([[2.0, -1.0], [0.0, 3.0]])
    seen = seen_as(peaks(wanted, 0), view)
    found = LEVELS[0].offsets[seen[0][:, 0].flatten(1).argmax(1)]
    assert torch.equal(found, moved_as(wanted, view))


def test_what_is_wanted_composes_with_the_field() -> None:
    rows = torch.linspace(0, 3, 40).view(1, 1, 40, 1).expand(1, 1, 40, 40)
    field = torch.cat([rows, -rows], dim=1)
    points = torch.tensor([[10.0, 12.0], [20.0, 25.0]])
    wanted = torch.tensor([[2.0, 1.0], [-1.0, 0.5]])
    step = corrections(field, points, wanted)
    torch.testing.assert_close(step + sample_at(field, points + step), wanted, atol=1e-4, rtol=0)
