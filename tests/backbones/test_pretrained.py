"""Pretrained weights, read from real files under torchvision's names; no network is needed."""

from __future__ import annotations

import warnings
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlparse

import pytest
import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import GoogLeNet_Weights, ResNet18_Weights, ResNet50_Weights, WeightsEnum
from torchvision.models.resnet import BasicBlock
from torchvision.models.video import R2Plus1D_18_Weights, R3D_18_Weights, S3D_Weights

from repflow_pl.backbones import build_backbone, pretrained_names
from repflow_pl.backbones.pretrained import Standardise, inflate
from repflow_pl.errors import UserError

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KINETICS = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's folder, empty, on a machine that has no network."""

    def no_network(url: str, *_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    torch.manual_seed(0)
    return tmp_path / "hub" / "checkpoints"


def save(checkpoints: Path, weights: WeightsEnum, net: nn.Module) -> Path:
    """A network's state dict as torchvision's file of these weights."""
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = checkpoints / Path(urlparse(weights.url).path).name
    torch.save(net.state_dict(), path)
    return path


def torchvisions(name: str) -> nn.Module:
    """A network of torchvision's in evaluation mode, every tensor of it drawn at random."""
    options = {"init_weights": False} if name == "googlenet" else {}
    net: nn.Module = torchvision.models.get_model(name, **options).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return net


def normalised(clip: Tensor, statistics: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Pixels in -1..1 -> as torchvision's transforms have them."""
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in statistics)
    return ((clip + 1) / 2 - mean) / std


def test_names_with_weights() -> None:
    assert set(pretrained_names()) == {
        *("resnet18_fine", "resnet34_fine", "resnet50_fine"),
        *("resnet18_tsm", "resnet34_tsm", "resnet50_tsm"),
        *("resnet18", "resnet34", "resnet50", "resnet50_nonlocal", "resnet101_nonlocal"),
        *("r3d_18", "r2plus1d_18", "r2plus1d_18_nonlocal", "s3d", "i3d"),
    }


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("r3d_18", R3D_18_Weights.KINETICS400_V1),
        ("r2plus1d_18", R2Plus1D_18_Weights.KINETICS400_V1),
        ("s3d", S3D_Weights.KINETICS400_V1),
    ],
)
@torch.no_grad()
def test_a_pretrained_video_network_is_torchvisions(
    name: str, weights: WeightsEnum, checkpoints: Path
) -> None:
    theirs = torchvisions(name)
    save(checkpoints, weights, theirs)
    ours = build_backbone(name, pretrained=True).eval()
    clip = torch.rand(1, 3, 8, 32, 32) * 2 - 1
    pixels = normalised(clip, KINETICS)
    if name == "s3d":
        expected = theirs.features(pixels).mean((2, 3, 4))
    else:
        theirs.fc = nn.Identity()
        expected = theirs(pixels)
    found = ours.features(clip).mean((2, 3, 4))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_pretrained_2d_network_is_torchvisions(checkpoints: Path) -> None:
    theirs = torchvisions("resnet18")
    save(checkpoints, ResNet18_Weights.IMAGENET1K_V1, theirs)
    ours = build_backbone("resnet18", pretrained=True).eval()
    clip = torch.rand(1, 3, 2, 32, 32) * 2 - 1
    theirs.fc = nn.Identity()
    expected = theirs(normalised(clip, IMAGENET)[0].transpose(0, 1)).mean(0)
    found = ours.features(clip).mean((0, 2, 3, 4))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_shifted_network_starts_from_the_plain_ones_weights(checkpoints: Path) -> None:
    """A clip of one frame has no neighbours: their channels are zero in front of each branch."""
    theirs = torchvisions("resnet18")
    save(checkpoints, ResNet18_Weights.IMAGENET1K_V1, theirs)
    ours = build_backbone("resnet18_tsm", pretrained=True).eval()
    picture = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    theirs.fc = nn.Identity()
    for block in (m for m in theirs.modules() if isinstance(m, BasicBlock)):
        block.conv1.weight[:, : block.conv1.in_channels // 4] = 0
    expected = theirs(normalised(picture, IMAGENET)[:, :, 0])
    found = ours.features(picture).mean((2, 3, 4))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.long
@torch.no_grad()
def test_an_inflated_resnet_sees_a_still_clip_as_a_picture(checkpoints: Path) -> None:
    """In the middle of a clip so long that its ends, padded by zeros, are out of sight."""
    theirs = torchvisions("resnet50")
    save(checkpoints, ResNet50_Weights.IMAGENET1K_V1, theirs)
    ours = build_backbone("resnet50_nonlocal", pretrained=True).eval()
    picture = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    theirs.fc = nn.Identity()
    expected = theirs(normalised(picture, IMAGENET)[:, :, 0])
    found = ours.features(picture.expand(-1, -1, 40, -1, -1))[:, :, 10].mean((2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_an_inflated_inception_sees_a_still_clip_as_a_picture(checkpoints: Path) -> None:
    theirs = torchvisions("googlenet")
    save(checkpoints, GoogLeNet_Weights.IMAGENET1K_V1, theirs)
    ours = build_backbone("i3d", pretrained=True).eval()
    picture = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    for pool in (theirs.maxpool1, theirs.maxpool2, theirs.maxpool3):  # ours are centred
        pool.padding, pool.ceil_mode = 1, False
    theirs.fc, theirs.transform_input = nn.Identity(), True  # as its weights set it
    expected = theirs(normalised(picture, IMAGENET)[:, :, 0])
    found = ours.features(picture.expand(-1, -1, 128, -1, -1))[:, :, 8].mean((2, 3))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.long
@torch.no_grad()
def test_nonlocal_blocks_go_between_pretrained_ones(checkpoints: Path) -> None:
    """They start as nothing, so the network starts as the one whose weights it has."""
    theirs = torchvisions("r2plus1d_18")
    save(checkpoints, R2Plus1D_18_Weights.KINETICS400_V1, theirs)
    plain, extended = (
        build_backbone(name, pretrained=True).eval()
        for name in ("r2plus1d_18", "r2plus1d_18_nonlocal")
    )
    clip = torch.rand(1, 3, 4, 32, 32)
    torch.testing.assert_close(extended.features(clip), plain.features(clip))


def test_other_channels_get_the_mean_of_the_rgb_filters(checkpoints: Path) -> None:
    theirs = torchvisions("r3d_18")
    save(checkpoints, R3D_18_Weights.KINETICS400_V1, theirs)
    ours = build_backbone("r3d_18", in_channels=2, pretrained=True, sees="fields")
    first = ours.stages[0][0].weight
    assert first.shape[1] == 2
    for channel in range(2):
        torch.testing.assert_close(first[:, channel], theirs.stem[0].weight.mean(1))
    fields = torch.randn(1, 2, 3, 8, 8)
    assert torch.equal(ours.forward_block(0, fields), fields), "fields are no pixels"


def test_inflation_keeps_the_answer_to_equal_frames() -> None:
    kernel, picture = torch.randn(4, 3, 3, 3), torch.randn(1, 3, 6, 6)
    expected = nn.functional.conv2d(picture, kernel)
    clip = picture[:, :, None].expand(-1, -1, 5, -1, -1)
    found = nn.functional.conv3d(clip, inflate(kernel, 5))
    torch.testing.assert_close(found[:, :, 0], expected, rtol=1e-4, atol=1e-5)


def test_pixels_are_standardised_as_by_torchvision() -> None:
    bytes_ = torch.randint(0, 256, (1, 3, 2, 4, 4), dtype=torch.uint8)
    transform = R3D_18_Weights.KINETICS400_V1.transforms(crop_size=(4, 4), resize_size=(4, 4))
    expected = transform(bytes_.transpose(1, 2))
    found = Standardise(*KINETICS)(bytes_.float() / 127.5 - 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_fresh_network_gets_its_pixels_as_they_are() -> None:
    clip = torch.rand(1, 3, 2, 8, 8)
    assert torch.equal(build_backbone("narrow3d").forward_block(0, clip), clip)


def test_without_network_the_error_says_where_to_place_the_file(checkpoints: Path) -> None:
    with pytest.raises(UserError) as caught:
        build_backbone("r3d_18", pretrained=True)
    message = str(caught.value)
    assert "no route to host" in message and "\n" not in message
    assert f"get {R3D_18_Weights.KINETICS400_V1.url} on another machine" in message
    assert f"place it in {checkpoints}" in message


def test_the_check_before_a_sweep_finds_missing_weights_and_draws_none(checkpoints: Path) -> None:
    """A network of shapes alone needs the file to be there, and is left without values."""
    with torch.device("meta"):
        with pytest.raises(UserError, match="cannot be downloaded"):
            build_backbone("resnet18", pretrained=True)
        torchvisions_shapes = torchvision.models.resnet18()
    assert torchvisions_shapes.conv1.weight.is_meta
    save(checkpoints, ResNet18_Weights.IMAGENET1K_V1, torchvisions("resnet18"))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("error")
        net = build_backbone("resnet18", pretrained=True)
    assert all(parameter.is_meta for parameter in net.parameters())


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_damaged_file_is_named(content: bytes, checkpoints: Path) -> None:
    path = save(checkpoints, ResNet18_Weights.IMAGENET1K_V1, nn.Identity())
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path.name} is no file of weights .*delete it"):
        build_backbone("resnet18", pretrained=True)


@pytest.mark.long
def test_a_file_of_something_else_is_refused(checkpoints: Path) -> None:
    path = save(checkpoints, ResNet18_Weights.IMAGENET1K_V1, nn.Identity())
    torch.save({"epoch": 3}, path)
    with pytest.raises(UserError, match="is no file of weights"):
        build_backbone("resnet18", pretrained=True)
    for other in ("resnet34", "r3d_18"):
        save(checkpoints, ResNet18_Weights.IMAGENET1K_V1, torchvision.models.get_model(other))
        with pytest.raises(UserError, match="does not hold that network's weights"):
            build_backbone("resnet18", pretrained=True)


def test_a_narrow_backbone_has_no_weights() -> None:
    with pytest.raises(UserError, match="no weights for backbone 'narrow3d': leave out --pretr"):
        build_backbone("narrow3d", pretrained=True)
