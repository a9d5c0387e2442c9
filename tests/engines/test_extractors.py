"""Extractors from weights of the U-Net, of the encoder, and from TorchScript."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from custom_components.common.errors import InputError
from custom_components.engines.extractors import export_extractor, load_extractor
from custom_components.losses import DeepSimLoss, similarity_named
from custom_components.losses.named import NAMES
from custom_components.networks import FeatureEncoder, StridedUNet, VGGFeatures


@pytest.mark.parametrize("spatial", [(24, 32), (16, 16, 24)])
@pytest.mark.parametrize("norm", [True, False])
def test_sizes_are_read_from_the_weights(spatial, norm, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = StridedUNet(len(spatial), 1, 3, channels=(4, 6), norm=norm, skip_connections=False)
    network.train()(torch.rand(2, 1, *spatial))  # running statistics other than the first ones
    torch.save(network.state_dict(), tmp_path / "unet.pt")
    torch.save(network.encoder.state_dict(), tmp_path / "encoder.pt")
    torch.jit.script(network.encoder.eval()).save(tmp_path / "encoder.ts")
    image = torch.rand(1, 1, *spatial)
    wanted = network.eval().encoder(image)
    for name in ("unet.pt", "encoder.pt", "encoder.ts"):
        extractor = load_extractor(tmp_path / name)
        assert not extractor.training
        assert not any(parameter.requires_grad for parameter in extractor.parameters())
        found = extractor(image)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))
        assert float(DeepSimLoss(extractor)(image, image)) == pytest.approx(0, abs=1e-5)


def test_vgg_comes_from_torchvision_s_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = VGGFeatures()
    shapes = {name: tuple(value.shape[:2]) for name, value in network.state_dict().items() if value.ndim == 4}
    assert shapes == {f"features.{k}.weight": v for k, v in {
        0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
    }.items()}  # fmt: skip
    torch.save(network.state_dict() | {"classifier.0.bias": torch.zeros(4096)}, tmp_path / "vgg16.pth")
    extractor, image = load_extractor(tmp_path / "vgg16.pth"), torch.rand(2, 1, 24, 33)
    found = extractor(image)
    assert [tuple(level.shape) for level in found] == [(2, 64, 24, 33), (2, 128, 12, 16), (2, 256, 6, 8)]
    assert all(float(level.min()) == 0 for level in found)  # after the activation
    by_hand = torch.relu(network.features[0](image.repeat(1, 3, 1, 1)))
    assert torch.allclose(found[0], torch.relu(network.features[2](by_hand)), atol=1e-6)


def test_the_export_gives_the_same_list(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, image = StridedUNet(2, 1, 1, channels=(4, 6), skip_connections=False).eval(), torch.rand(1, 1, 24, 32)
    torch.save(network.state_dict(), tmp_path / "unet.pt")
    assert str(tmp_path / "a.ts") in export_extractor(str(tmp_path / "unet.pt"), str(tmp_path / "a.ts"))
    found = torch.jit.load(tmp_path / "a.ts")(image)
    assert isinstance(found, list)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, network.encoder(image), strict=True))
    export_extractor(str(tmp_path / "a.ts"), str(tmp_path / "b.ts"))
    assert (tmp_path / "b.ts").exists()
    before = (tmp_path / "b.ts").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export_extractor(str(tmp_path / "unet.pt"), str(tmp_path / "b.ts"))
    with pytest.raises(InputError, match="is an input"):
        export_extractor(str(tmp_path / "b.ts"), str(tmp_path / "b.ts"), overwrite=True)
    assert (tmp_path / "b.ts").read_bytes() == before


def test_other_files_are_refused(tmp_path: Path) -> None:
    assert load_extractor(None) is None
    with pytest.raises(InputError, match="does not exist"):
        load_extractor(tmp_path / "absent.pt")
    torch.save({"weight": torch.rand(3, 3)}, tmp_path / "linear.pt")
    with pytest.raises(InputError, match="no strided convolutions of a feature encoder"):
        load_extractor(tmp_path / "linear.pt")
    (tmp_path / "broken.ts").write_text("no script")
    with pytest.raises(InputError, match="TorchScript"):
        load_extractor(tmp_path / "broken.ts")


@pytest.mark.parametrize("spatial", [(24, 32), (16, 16, 24)])
@pytest.mark.parametrize("name", NAMES)
def test_every_named_similarity_prefers_the_image_itself(name, spatial) -> None:
    torch.manual_seed(0)
    small = torch.rand(1, 1, *(side // 4 for side in spatial))
    mode = "bilinear" if len(spatial) == 2 else "trilinear"
    image = torch.nn.functional.interpolate(small, spatial, mode=mode)
    loss = similarity_named(name, len(spatial), FeatureEncoder(len(spatial), 1, (4, 6)))
    assert float(loss(image, image)) < float(loss(image.roll(4, -1), image))


def test_wrong_names_and_missing_features_are_refused() -> None:
    with pytest.raises(InputError, match="similarity is mse, charbonnier, ncc, nmi, mind, deepsim, got 'l2'"):
        similarity_named("l2")
    with pytest.raises(InputError, match="give --extractor"):
        similarity_named("deepsim")
