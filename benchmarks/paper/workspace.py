"""Where a benchmark keeps what it has done: a folder a step, with what made it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from modularizer.whole_files import write_whole

_RESULT, _TENSORS = "result.json", "tensors.safetensors"


@dataclass(frozen=True)
class Step:
    """A piece of work whose result is kept.

    Attributes:
        name: with slashes, which is also its place in the workspace.
        work: which function does it.
        arguments: of that function.
        identity: everything of its own that the result depends on, as JSON values.
        needs: steps whose results it reads.
        effort: how much work it is, in any unit that is the same for all steps.
    """

    name: str
    work: str
    arguments: tuple[str, ...]
    identity: Mapping[str, Any]
    needs: tuple[Step, ...] = ()
    effort: float = 0.0
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        made_of = {
            "work": self.work,
            "arguments": self.arguments,
            "identity": self.identity,
            "needs": [step.fingerprint for step in self.needs],
        }
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
        object.__setattr__(self, "fingerprint", digest)


@dataclass(frozen=True, eq=False)
class Result:
    """What a step left.

    Attributes:
        facts: JSON values.
        tensors: name to tensor, on the CPU.
    """

    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class Workspace:
    """A folder of results; one that was changed, or would be made otherwise, is not there.

    Args:
        folder: made when something is kept in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, step: Step) -> Path:
        """The folder of a step, made if it is not there; checkpoints may lie in it."""
        place = self.folder / step.name
        place.mkdir(parents=True, exist_ok=True)
        return place

    def is_done(self, step: Step) -> bool:
        """Whether a step's result is there, made of what would make it today."""
        about = self._about(step)
        return about is not None and about["fingerprint"] == step.fingerprint

    def keep(self, step: Step, result: Result, seconds: float) -> None:
        """Keep a step's result; it counts as there once all of it is.

        Raises:
            OSError: if it can't be written.
        """
        from safetensors.torch import save

        raw = save({name: tensor.contiguous() for name, tensor in result.tensors.items()})
        place = self.folder / step.name
        write_whole(place / _TENSORS, raw)
        about: dict[str, Any] = {
            "step": step.name,
            "fingerprint": step.fingerprint,
            "tensors": hashlib.sha256(raw).hexdigest(),
            "seconds": round(seconds, 1),
            "identity": step.identity,
            "facts": result.facts,
        }
        about["digest"] = _digest(about)
        write_whole(place / _RESULT, json.dumps(about, indent=1).encode())

    def read(self, step: Step) -> Result:
        """A step's result.

        Raises:
            FileNotFoundError: if it is not there, or not what was kept.
        """
        from safetensors.torch import load

        about = self._about(step)
        if about is None or about["fingerprint"] != step.fingerprint:
            raise FileNotFoundError(f"{step.name} has not been done in {self.folder}")
        raw = (self.folder / step.name / _TENSORS).read_bytes()
        if hashlib.sha256(raw).hexdigest() != about["tensors"]:
            raise FileNotFoundError(
                f"{self.folder / step.name / _TENSORS} is not what was kept; remove it"
            )
        return Result(about["facts"], load(raw))

    def seconds(self, step: Step) -> float:
        """What a step took; 0 if it is not there."""
        about = self._about(step)
        return 0.0 if about is None else float(about["seconds"])

    def _about(self, step: Step) -> dict[str, Any] | None:
        place = self.folder / step.name
        try:
            about = json.loads((place / _RESULT).read_text())
        except (OSError, ValueError, RecursionError):
            return None
        whole = isinstance(about, dict) and about.pop("digest", None) == _digest(about)
        return about if whole and (place / _TENSORS).exists() else None


def _digest(about: Mapping[str, Any]) -> str:
    """Of everything that is kept of a step; the tensors' own digest is in it."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
