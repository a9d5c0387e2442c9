"""Handlers of a training: what was stopped goes on as if it had not been, and no file is half-written."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from custom_components.common.errors import InputError
from custom_components.handlers import (
    EpochSetter,
    FinalModel,
    SchedulerSteps,
    TrainingCheckpoint,
    TrainingCurve,
    select_losses,
)
from custom_components.losses import EndPointLoss
from custom_components.networks import PatchUNet
from custom_components.transforms import SyntheticPairs


def weights_path(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def synthetic() -> SyntheticPairs:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(1, 80, 80)), [0, 2, 2])
    image = torch.from_numpy((noise - noise.min()) / np.ptp(noise)).float()
    keys = ("working_moving", "working_fixed", "mask_moving", "mask_fixed")
    pair = dict(zip(keys, (image, image.flip(1), torch.ones_like(image), torch.ones_like(image)), strict=True))
    return SyntheticPairs([pair], 6, 32, [1.0])


class Training:
    """The pretraining in small, with all that has a state; ``batches`` are those of each epoch."""

    def __init__(
        self, folder: Path, epochs: int, schedule: int = 3, workers: int = 0, record: dict[str, Any] | None = None
    ) -> None:
        torch.manual_seed(0)
        self.network = PatchUNet(channels=(4, 8), head_channels=(4,))
        dataset = synthetic()
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule)
        parts = {"network": self.network, "optimizer": optimizer, "scheduler": scheduler}
        self.checkpoint = TrainingCheckpoint(folder / "checkpoint.pt", parts, record)
        self.final = folder / "final.pt"
        handlers = [
            EpochSetter(dataset),
            LrScheduleHandler(scheduler, print_lr=False),
            TrainingCurve(folder / "curve.csv"),
            self.checkpoint,
            FinalModel(self.final, self.network),
        ]
        self.trainer = SupervisedTrainer(
            device=torch.device("cpu"), max_epochs=epochs, network=self.network, optimizer=optimizer,
            train_data_loader=DataLoader(dataset, batch_size=2, num_workers=workers), loss_function=EndPointLoss(),
            train_handlers=handlers,
        )  # fmt: skip
        self.batches: dict[int, list[Tensor]] = {}
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self._remember)

    def _remember(self, engine: Engine) -> None:
        images = torch.stack([item["image"] for item in engine.state.output])
        self.batches.setdefault(engine.state.epoch, []).append(images)

    def run(self) -> Training:
        self.trainer.run()
        return self


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Three epochs in one go."""
    return Training(tmp_path_factory.mktemp("whole"), 3).run()


def table_rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_taken_up_again_ends_with_the_same_weights_to_the_last_bit(whole, tmp_path, workers):
    first = Training(tmp_path, 1, workers=workers).run()
    torch.manual_seed(99)
    second = Training(tmp_path, 3, workers=workers).run()
    assert not torch.equal(weights_path(first.network), weights_path(whole.network))
    assert torch.equal(weights_path(second.network), weights_path(whole.network))
    assert second.trainer.state.epoch == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_every_epoch_trains_on_its_own_items_also_after_a_resume(whole, tmp_path, workers):
    Training(tmp_path, 1, workers=workers).run()
    second = Training(tmp_path, 3, workers=workers).run()
    assert sorted(whole.batches) == [1, 2, 3]
    assert sorted(second.batches) == [2, 3]
    for epoch, batches in (*whole.batches.items(), *second.batches.items()):
        dataset = synthetic()
        dataset.set_epoch(epoch)
        assert torch.equal(torch.cat(batches), torch.stack([dataset[index]["image"] for index in range(6)]))


class Killed(Exception):
    pass


def test_an_epoch_that_was_broken_off_is_trained_again(whole, tmp_path):
    broken = Training(tmp_path, 3)

    def kill(engine: Engine) -> None:
        if engine.state.iteration == 5:  # in the middle of the second epoch
            raise Killed

    broken.trainer.add_event_handler(Events.ITERATION_COMPLETED, kill)
    with pytest.raises(Killed):
        broken.run()
    assert not broken.final.exists()
    assert [row["epoch"] for row in table_rows(tmp_path / "curve.csv")] == ["1"]
    again = Training(tmp_path, 3).run()
    assert torch.equal(weights_path(again.network), weights_path(whole.network))
    assert [row["loss"] for row in table_rows(tmp_path / "curve.csv")] == [
        row["loss"] for row in table_rows(whole.final.with_name("curve.csv"))
    ]


def test_a_finished_training_only_writes_its_model_again(tmp_path):
    first = Training(tmp_path, 2).run()
    first.final.unlink()
    again = Training(tmp_path, 2).run()
    assert again.batches == {}
    again.network.load_state_dict(torch.load(again.final, weights_only=True))
    assert torch.equal(weights_path(again.network), weights_path(first.network))
    assert [row["epoch"] for row in table_rows(tmp_path / "curve.csv")] == ["1", "2"]


RECORD = {"data": "1", "weights": {"init_weights": "a"}, "options": {"seed": 0, "loss": "ncc"}}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"data": "2"}, "differs in the data"),
        ({"weights": {"init_weights": "b"}}, "differs in init_weights"),
        ({"options": {"seed": 0, "loss": "mse", "more": 1}}, "differs in loss, more"),
    ],
)
def test_other_data_or_options_do_not_go_on_with_a_training(tmp_path, other, message, capsys):
    Training(tmp_path, 1, record=RECORD).run()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match=f"is of another training, which {message}.*; give another --run_dir"):
        Training(tmp_path, 2, record=RECORD | other).run()
    assert "resuming after" not in capsys.readouterr().out
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_training_says_where_it_writes_and_how_far_it_was(tmp_path, capsys):
    for epochs, said in ((1, f"training in {tmp_path}"), (2, "resuming after epoch 1 of 2"), (2, "complete already")):
        Training(tmp_path, epochs, record=RECORD).run()
        assert said in capsys.readouterr().out


def test_a_checkpoint_that_says_nothing_of_its_data_is_refused(tmp_path):
    Training(tmp_path, 1).run()
    with pytest.raises(InputError, match="does not say which data and options"):
        Training(tmp_path, 2, record=RECORD).run()


def test_the_model_of_a_bundle_or_of_another_training_is_replaced_only_when_told(tmp_path):
    model = tmp_path / "bundle" / "models" / "model.pt"
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    (tmp_path / "bundle" / "configs" / "metadata.json").write_text("{}")
    model.parent.mkdir()
    model.write_bytes(b"shipped")
    for file, message in ((model, "belongs to the bundle"), (tmp_path / "mine" / "final.pt", "not of this training")):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"shipped")
        engine = Engine(lambda *_: None)
        FinalModel(file, nn.Linear(1, 1)).attach(engine)
        with pytest.raises(InputError, match=message):
            engine.run([0], max_epochs=1)
        assert file.read_bytes() == b"shipped"
        engine = Engine(lambda *_: None)
        FinalModel(file, nn.Linear(1, 1), overwrite="true").attach(engine)
        engine.run([0], max_epochs=1)
        assert set(torch.load(file, weights_only=True)) == {"weight", "bias"}


def damaged(folder: Path, content: Any) -> Training:
    """A training that finds ``content`` for its checkpoint and a good model of an earlier one."""
    file = folder / "checkpoint.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    training = Training(folder, 2)
    training.final.write_bytes(b"a good model")
    return training


def other_network() -> dict[str, Any]:
    """What the same training of a network of another size would have left."""
    network = PatchUNet(channels=(4, 6), head_channels=(4,))
    optimizer = torch.optim.Adam(network.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    return {
        "network": network.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
        "epoch": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 cut off", r"'checkpoint'.*checkpoint\.pt can't be read as PyTorch weights"),
        (b"", r"checkpoint\.pt can't be read"),
        ({"network": {}}, r"checkpoint\.pt is not a checkpoint of.*it has no epoch, optimizer, scheduler"),
        (other_network(), r"checkpoint\.pt is not a checkpoint of.*; move it away.*network: .*size mismatch"),
        (other_network() | {"network": 7}, r"is not a checkpoint of this training.*network"),
    ],
)
def test_a_checkpoint_that_is_damaged_or_foreign_is_refused_and_the_model_kept(tmp_path, content, message):
    training = damaged(tmp_path, content)
    with pytest.raises(InputError, match=f"(?s){message}"):
        training.run()
    assert training.final.read_bytes() == b"a good model"


def test_parts_given_as_lists_are_kept_one_by_one(tmp_path):
    networks = [nn.Linear(1, 1), nn.Linear(1, 1)]
    checkpoint = TrainingCheckpoint(tmp_path / "deep" / "checkpoint.pt", {"networks": networks})
    engine = Engine(lambda *_: None)
    engine.state.epoch = 4
    checkpoint.save(engine)
    saved = torch.load(tmp_path / "deep" / "checkpoint.pt")
    assert set(saved) == {"networks_0", "networks_1", "epoch"}
    assert torch.equal(saved["networks_1"]["weight"], networks[1].weight)


def test_a_kill_while_writing_leaves_the_files_before(tmp_path, monkeypatch):
    training = Training(tmp_path, 1).run()
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    engine = training.trainer
    for write in (training.checkpoint.save, FinalModel(training.final, training.network)):
        with pytest.raises(Killed):
            write(engine)
    with pytest.raises(Killed):
        Training(tmp_path, 2).run()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def curve_of(file: Path, losses: list[dict[str, float]], first: int = 1) -> None:
    """A curve of one iteration an epoch."""
    engine = Engine(lambda engine, _: losses[engine.state.epoch - 1])
    TrainingCurve(file).attach(engine)

    @engine.on(Events.STARTED)
    def begin(engine: Engine) -> None:
        engine.state.epoch = first - 1

    engine.run([0], max_epochs=len(losses))


def test_the_curve_has_the_means_of_every_epoch(tmp_path, capsys):
    engine = Engine(lambda engine, value: {"loss": value, "other": 2 * value})
    TrainingCurve(tmp_path / "curves" / "curve.csv").attach(engine)
    engine.run([1.0, 2.0, 6.0], max_epochs=2)
    rows = table_rows(tmp_path / "curves" / "curve.csv")
    assert [(row["epoch"], row["loss"], row["other"]) for row in rows] == [("1", "3.0", "6.0"), ("2", "3.0", "6.0")]
    assert all(float(row["seconds"]) >= 0 for row in rows)
    assert "epoch 2, seconds 0.0, loss 3.0, other 6.0" in capsys.readouterr().out


def test_rows_from_the_epoch_of_a_resume_on_are_replaced(tmp_path):
    file = tmp_path / "curve.csv"
    curve_of(file, [{"loss": float(epoch)} for epoch in range(5)])
    curve_of(file, [{"loss": 10.0 + epoch} for epoch in range(4)], first=3)
    assert [(row["epoch"], row["loss"]) for row in table_rows(file)] == [
        ("1", "0.0"), ("2", "1.0"), ("3", "12.0"), ("4", "13.0"),
    ]  # fmt: skip


def test_a_figure_that_an_epoch_lacks_leaves_its_cell_empty(tmp_path):
    file = tmp_path / "curve.csv"
    curve_of(file, [{"loss": 1.0}, {}, {"loss": 3.0, "late": 4.0}])
    assert [(row["loss"], row["late"]) for row in table_rows(file)] == [("1.0", ""), ("", ""), ("3.0", "4.0")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((InputError, OSError), match="file"):
        curve_of(tmp_path / "file" / "curve.csv", [{"loss": 1.0}])


@pytest.mark.parametrize(
    ("output", "losses"),
    [
        ([{"loss": torch.tensor(2.0), "image": torch.ones(2, 4, 4)}] * 2, {"loss": 2.0}),
        ({"loss": 2.0, "similarity_0": torch.tensor(1.0), "id": "a"}, {"loss": 2.0, "similarity_0": 1.0}),
        ({}, {}),
    ],
)
def test_all_losses_are_found_in_the_output_of_any_trainer(output, losses):
    assert select_losses(output) == losses


def test_schedules_are_stepped_once_an_epoch():
    optimizers = [torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=rate) for rate in (1.0, 2.0)]
    engine = Engine(lambda *_: [optimizer.step() for optimizer in optimizers])
    SchedulerSteps([torch.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in optimizers]).attach(engine)
    engine.run([0, 1, 2], max_epochs=2)
    assert [optimizer.param_groups[0]["lr"] for optimizer in optimizers] == [0.25, 0.5]
