import torch
from torchvision.transforms.v2 import functional as transforms

from repflow_pl.data.fields.eight_bit import ZERO
from repflow_pl.data.transforms import (
    Window,
    centre,
    cut_fields,
    cut_frames,
    mirror_fields,
    spread,
)


def picture(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.manual_seed(0))


def test_cutting() -> None:
    frames = picture(2, 3, 40, 60)
    cut = cut_frames(frames, Window(3, 5, 20, 30), (20, 30))
    assert torch.equal(cut, frames[..., 3:23, 5:35])
    larger = cut_frames(frames, Window(3, 5, 20, 30), (40, 60))
    expected = transforms.resize(frames[..., 3:23, 5:35], [40, 60], antialias=True)
    assert larger.dtype == torch.uint8 and (larger.int() - expected.int()).abs().max() <= 1


def test_what_is_enlarged_moves_faster() -> None:
    fields = torch.full((1, 2, 20, 20), ZERO, dtype=torch.uint8)
    fields[:, 0] += 20
    fields[:, 1] -= 100
    assert torch.equal(cut_fields(fields, Window(0, 0, 10, 10), (10, 10)), fields[..., :10, :10])
    cut = cut_fields(fields, Window(0, 0, 10, 10), (15, 20))  # 1.5 times as high, twice as wide
    assert (cut[:, 0] == ZERO + 40).all()
    assert (cut[:, 1] == ZERO - 127).all()  # clipped


def test_mirroring() -> None:
    fields = torch.full((1, 2, 2, 3), ZERO, dtype=torch.uint8)
    assert torch.equal(mirror_fields(fields), fields)
    fields[0, :, 0, 0] = torch.tensor([ZERO + 5, ZERO + 7])
    assert mirror_fields(fields)[0, :, 0, 2].tolist() == [ZERO - 5, ZERO + 7]
    fields[0, :, 0, 1] = torch.tensor([1, 255])
    assert mirror_fields(fields)[0, :, 0, 1].tolist() == [255, 255]
    assert torch.equal(mirror_fields(mirror_fields(fields)), fields)


def test_crops_lie_from_end_to_end() -> None:
    assert spread(120, 160, (112, 112), 1) == [centre(120, 160, (112, 112))]
    assert [w.left for w in spread(120, 160, (112, 112), 3)] == [0, 24, 48]
    assert {w.top for w in spread(120, 160, (112, 112), 3)} == {4}
    assert [w.top for w in spread(200, 112, (112, 112), 5)] == [0, 22, 44, 66, 88]
    assert spread(112, 112, (112, 112), 2) == [Window(0, 0, 112, 112)] * 2
