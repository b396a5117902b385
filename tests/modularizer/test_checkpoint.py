from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from modularizer.checkpoint import Checkpoint, Identity, weights_digest
from modularizer.errors import CheckpointError

TASK = Identity({"seed": 1, "data": "abc"}, {"torch": "2"})
TENSORS = {
    "bits": torch.tensor([[True, False]]),
    "worth": torch.tensor([1 / 3, -0.0, 1e-300], dtype=torch.float64),
    "generator": torch.Generator().manual_seed(3).get_state(),
}
FACTS = {"generation": 3, "history": [{"fitness": 0.1 + 0.2}], "none": None}


def test_what_was_saved_comes_back_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "one.safetensors"
    first = Checkpoint(path, TASK)
    assert first.load("search") is None
    first.save("search", TENSORS, FACTS)
    first.save("sensitivity", {"rows": torch.zeros(0, 9)}, {})
    first.save("search", TENSORS, FACTS)
    second = Checkpoint(path, TASK)
    saved = second.load("search")
    assert saved is not None
    assert saved.facts == FACTS
    assert set(saved.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert saved.tensors[name].dtype == tensor.dtype
        assert torch.equal(saved.tensors[name], tensor)
    sensitivity = second.load("sensitivity")
    assert sensitivity is not None
    assert sensitivity.tensors["rows"].shape == (0, 9)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_without_a_path_nothing_is_written_but_a_stage_is_known() -> None:
    one = Checkpoint(None, TASK)
    one.save("search", TENSORS, FACTS)
    assert one.load("search") is not None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Identity({"seed": 2, "data": "abc"}, {"torch": "2"}), "is of another task"),
        (Identity(TASK.task, {"torch": "3"}), r"other versions \(torch 2 then, 3 now\)"),
        (Identity(TASK.task, {"torch": "2", "numpy": "2"}), "numpy None then, 2 now"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    tmp_path: Path, other: Identity, message: str
) -> None:
    path = tmp_path / "one"
    Checkpoint(path, TASK).save("search", TENSORS, FACTS)
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=message) as caught:
        Checkpoint(path, other)
    assert "--restart" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("broken", ["empty", "short", "noise", "folder", "foreign"])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, broken: str) -> None:
    from safetensors.torch import save

    path = tmp_path / "one"
    Checkpoint(path, TASK).save("search", TENSORS, FACTS)
    whole = path.read_bytes()
    path.unlink()
    if broken == "folder":
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "short": whole[:-1],
                "noise": b"\x80" * len(whole),
                "foreign": save({"a": torch.zeros(1)}),
            }[broken]
        )
    with pytest.raises(CheckpointError, match="can't be read"):
        Checkpoint(path, TASK)


@pytest.mark.parametrize("tensor", list(TENSORS))
def test_a_single_changed_bit_is_noticed(tmp_path: Path, tensor: str) -> None:
    path = tmp_path / "one.safetensors"
    Checkpoint(path, TASK).save("search", TENSORS, FACTS)
    stored = bytearray(path.read_bytes())
    values = TENSORS[tensor].numpy().tobytes()
    stored[stored.index(values)] ^= 1
    path.write_bytes(stored)
    with pytest.raises(CheckpointError, match="not what was written"):
        Checkpoint(path, TASK)


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    checkpoint = Checkpoint(path, TASK)
    checkpoint.save("search", TENSORS, FACTS)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"one\.safetensors can't be written: File too"):
            checkpoint.save("more", {"rows": torch.zeros(len(before))}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_cleared_and_not_read(tmp_path: Path) -> None:
    path = tmp_path / "one"
    Checkpoint(path, TASK).save("search", TENSORS, FACTS)
    (tmp_path / ".one.123.tmp").write_bytes(b"half")
    (tmp_path / ".other.123.tmp").write_bytes(b"another search's")
    assert Checkpoint(path, TASK).load("search") is not None
    assert sorted(one.name for one in tmp_path.iterdir()) == [".other.123.tmp", "one"]


def test_the_digest_of_weights_sees_every_value_name_and_shape() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
    network = nn.Sequential(conv, norm)
    seen = {weights_digest(network)}
    assert weights_digest(network) in seen
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] += 1e-6
    seen.add(weights_digest(network))
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    seen.add(weights_digest(network))
    seen.add(weights_digest(nn.Sequential(nn.Identity(), conv, norm)))
    conv.weight = nn.Parameter(conv.weight.detach().flatten())
    seen.add(weights_digest(network))
    assert len(seen) == 5
