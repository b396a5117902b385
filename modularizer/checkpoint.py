"""What long work must not lose: written whole after every step, found again by the next run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modularizer.errors import CheckpointError
from modularizer.whole_files import remove_unfinished, write_whole

_FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """One stage of some work as it was last saved.

    Attributes:
        tensors: name -> tensor.
        facts: JSON values.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Identity:
    """What a checkpoint is of; it is no use to anything else.

    Attributes:
        task: everything that the result depends on: settings, fingerprints of weights and data.
        software: versions of what computes; other versions round differently.
    """

    task: Mapping[str, Any]
    software: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the task, 64 hex digits."""
        return hashlib.sha256(json.dumps(self.task, sort_keys=True).encode()).hexdigest()


class Checkpoint:
    """The stages of one task, in one file that is replaced whole, or nowhere.

    Args:
        path: the file; None to keep nothing. What is there is taken up if it is of the same
            task.
        identity: what it is of.

    Raises:
        CheckpointError: if the file is of another task, was made by other versions, or is broken.
    """

    def __init__(self, path: Path | None, identity: Identity) -> None:
        self._path = path
        self._identity = identity
        self._stages: dict[str, Saved] = {}
        if path is not None:
            remove_unfinished(path)
            if path.exists():
                self._stages = _read(path, identity)

    def load(self, stage: str) -> Saved | None:
        """A stage as it was last saved, None if it was not."""
        return self._stages.get(stage)

    def save(self, stage: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace a stage; after this returns it survives the end of the process.

        Args:
            stage: its name, without a slash.
            tensors: name -> tensor, copied to the CPU.
            facts: JSON values.

        Raises:
            CheckpointError: if it can't be written; what was there before is there still.
        """
        copied = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        self._stages[stage] = Saved(copied, json.loads(json.dumps(facts)))
        if self._path is not None:
            try:
                _write(self._path, self._stages, self._identity)
            except OSError as error:
                raise CheckpointError(
                    f"the checkpoint {self._path} can't be written: {error.strerror or error}"
                ) from error


def _write(path: Path, stages: Mapping[str, Saved], identity: Identity) -> None:
    from safetensors.torch import save

    facts = {stage: saved.facts for stage, saved in stages.items()}
    tensors = {
        f"{stage}/{name}": tensor
        for stage, saved in stages.items()
        for name, tensor in saved.tensors.items()
    }
    about = {
        "format": _FORMAT,
        "digest": identity.digest,
        "task": identity.task,
        "software": identity.software,
        "facts": facts,
        "content": _content_digest(tensors, facts),
    }
    write_whole(path, save(tensors, metadata={"patchbay": json.dumps(about)}))


def _read(path: Path, identity: Identity) -> dict[str, Saved]:
    from safetensors import SafetensorError, safe_open

    again = "begin anew without it (--restart)"
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["patchbay"])
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        version, digest, software, facts, content = (
            about[key] for key in ("format", "digest", "software", "facts", "content")
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} can't be read: {error}; {again}") from error
    if version != _FORMAT or digest != identity.digest:
        raise CheckpointError(f"the checkpoint {path} is of another task; {again}")
    if content != _content_digest(tensors, facts):
        raise CheckpointError(f"the checkpoint {path} is not what was written; {again}")
    other = [
        f"{name} {software.get(name)} then, {now} now"
        for name, now in identity.software.items()
        if software.get(name) != now
    ]
    if other:
        raise CheckpointError(
            f"the checkpoint {path} was made by other versions ({'; '.join(other)}), which may "
            f"round differently; go on with those, or {again}"
        )
    return {
        stage: Saved(
            {
                name.partition("/")[2]: tensor
                for name, tensor in tensors.items()
                if name.partition("/")[0] == stage
            },
            stage_facts,
        )
        for stage, stage_facts in facts.items()
    }


def weights_digest(network: torch.nn.Module) -> str:
    """SHA-256 over names, shapes, dtypes and values of a network's tensors, 64 hex digits."""
    return _tensors_digest(network.state_dict()).hexdigest()


def _content_digest(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    found = _tensors_digest(tensors)
    found.update(json.dumps(facts, sort_keys=True).encode())
    return found.hexdigest()


def _tensors_digest(tensors: Mapping[str, Tensor]) -> hashlib._Hash:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found
