"""What ``bundle.json`` holds: everything about a stored model but its tensors."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from torch import Tensor

from modularizer.architectures.spec import ArchitectureSpec
from modularizer.assembly.calibration import Calibration
from modularizer.assembly.fusion import Fusion
from modularizer.assembly.fusions.replacement import Replacement
from modularizer.preprocessing import Preprocessing
from registry.errors import AddressError
from registry.naming import parse_address

FORMAT_VERSION: Literal[2] = 2
_MAX_ARGUMENTS_LENGTH = 16 * 2**10
_MAX_CHANNELS = 10_000_000
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,99})?")

Kind = Literal["strong", "weak", "class_module", "patched"]
KINDS: tuple[Kind, ...] = ("strong", "weak", "class_module", "patched")
WEIGHTS_FILE = "weights.safetensors"
MANIFEST_FILE = "bundle.json"
HISTORY_FILE = "history.json"
EVIDENCE_FILE = "evidence.json"
PICTURES_FOLDER = "pictures"


def _pinned(uri: str) -> str:
    try:
        pinned = parse_address(uri).version is not None
    except AddressError as error:
        raise ValueError(str(error)) from error
    if not pinned:
        raise ValueError(f"expected an address with a version, found {uri}")
    return uri


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("class names must be distinct")
    return names


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PinnedUri = Annotated[str, AfterValidator(_pinned)]
ClassName = Annotated[str, Field(min_length=1, max_length=1000)]
ClassNames = Annotated[
    tuple[ClassName, ...], Field(min_length=1, max_length=100_000), AfterValidator(_distinct)
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoredFile(_Frozen):
    """One file of the bundle: its SHA-256 and its size."""

    sha256: Digest
    size_bytes: Count


class Parent(_Frozen):
    """A version that this one was made from, pinned to what it was then.

    Attributes:
        uri: its address with a version.
        digest: the SHA-256 of its ``bundle.json``.
    """

    uri: PinnedUri
    digest: Digest


class StoredCost(_Frozen):
    """Kernels, parameters and multiply-adds of the stored network, as counts."""

    kernels: Count
    parameters: Count
    multiply_adds: Count


class Probe(_Frozen):
    """A test prediction: what the model answered on two fixed images, see `bundles.probe`.

    Attributes:
        outputs: for each image one score a class.
    """

    outputs: Annotated[
        tuple[Annotated[tuple[Finite, ...], Field(min_length=1, max_length=100_000)], ...],
        Field(min_length=2, max_length=2),
    ]


class Origin(_Frozen):
    """What a stored model was made with.

    Attributes:
        settings: the settings of the step that made it.
        seed: of every random choice in that step.
        data_source: where the images came from.
        data_fingerprint: SHA-256 of the splits.
        software: name to version of what computed it.
        git_commit: of the working folder, if it is one.
    """

    settings: dict[str, Any]
    seed: int
    data_source: str
    data_fingerprint: str
    software: dict[str, str]
    git_commit: str | None = None


class KeptChannels(_Frozen):
    """Which channels of the slicing plan a class module keeps, a bit each.

    Attributes:
        count: how many channels the plan has.
        bits: the bits, first channel first, eight to a byte, as hex.
    """

    count: Annotated[int, Field(ge=1, le=_MAX_CHANNELS)]
    bits: Annotated[str, Field(pattern=r"^([0-9a-f]{2})+$")]

    @model_validator(mode="after")
    def _fits(self) -> KeptChannels:
        if len(self.bits) != 2 * -(-self.count // 8):
            raise ValueError(f"{self.count} channels need {-(-self.count // 8)} bytes of bits")
        return self

    @classmethod
    def from_mask(cls, kept: Tensor) -> KeptChannels:
        """Pack a bool tensor (channels,)."""
        packed = np.packbits(kept.cpu().numpy().astype(bool))
        return cls(count=len(kept), bits=packed.tobytes().hex())

    def to_mask(self) -> Tensor:
        """Unpack to a bool tensor (channels,)."""
        packed = np.frombuffer(bytes.fromhex(self.bits), dtype=np.uint8)
        return torch.from_numpy(np.unpackbits(packed, count=self.count).astype(bool))


class _Manifest(_Frozen):
    format_version: Literal[2] = FORMAT_VERSION
    metrics: dict[str, Finite]
    origin: Origin
    probe: Probe | None = None
    files: dict[str, StoredFile] = Field(default_factory=dict, max_length=100)

    @field_validator("files")
    @classmethod
    def _are_plain_names(cls, files: dict[str, StoredFile]) -> dict[str, StoredFile]:
        for name in files:
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a plain file name inside the bundle")
        return files


class _Network(_Manifest):
    architecture: ArchitectureSpec
    preprocessing: Preprocessing
    cost: StoredCost

    @field_validator("architecture")
    @classmethod
    def _is_small(cls, architecture: ArchitectureSpec) -> ArchitectureSpec:
        # Building even an empty network costs time for every layer that is named.
        if len(json.dumps(architecture.arguments)) > _MAX_ARGUMENTS_LENGTH:
            raise ValueError(f"architecture arguments exceed {_MAX_ARGUMENTS_LENGTH} characters")
        return architecture

    @model_validator(mode="after")
    def _has_weights(self) -> _Network:
        # Before its files are known a manifest lists none.
        if self.files and WEIGHTS_FILE not in self.files:
            raise ValueError(f"{WEIGHTS_FILE} is not among the files")
        return self


class ClassifierManifest(_Network):
    """A strong or a weak classifier."""

    kind: Literal["strong", "weak"]
    class_names: ClassNames

    @property
    def parents(self) -> tuple[Parent, ...]:
        """What it was made from: nothing registered."""
        return ()


class ClassModuleManifest(_Network):
    """A class module: a strong model's structure and which part of it is still there.

    Attributes:
        kept: which channels are there.
        output: the strong network's output that it gives.
        class_name: the class that it scores.
        calibration: the paper's.
        other_calibrations: others that were fitted when the strong model was taken apart.
        strong: what it is a part of.
    """

    kind: Literal["class_module"] = "class_module"
    kept: KeptChannels
    output: Count
    class_name: ClassName
    calibration: Calibration
    other_calibrations: Annotated[tuple[Calibration, ...], Field(max_length=20)] = ()
    strong: Parent

    @model_validator(mode="after")
    def _are_of_different_kinds(self) -> ClassModuleManifest:
        if len(self.calibrations) != 1 + len(self.other_calibrations):
            raise ValueError("calibrations of a class module must be of different kinds")
        return self

    @property
    def calibrations(self) -> dict[str, Calibration]:
        """What was fitted on the strong model's images, by kind; the default one first."""
        return {one.kind: one for one in (self.calibration, *self.other_calibrations)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """The one class it scores."""
        return (self.class_name,)

    @property
    def parents(self) -> tuple[Parent, ...]:
        """The strong model that it is a part of."""
        return (self.strong,)


class PatchEntry(_Frozen):
    """One patch of a patched model.

    Attributes:
        class_module: pinned.
        module_class: the class that it scores, as it calls it.
        class_name: the same class as the weak model calls it.
        calibration: of its score.
    """

    class_module: Parent
    module_class: ClassName
    class_name: ClassName
    calibration: Calibration


class PatchedModelManifest(_Manifest):
    """A patched classifier: addresses and digests, no weights.

    Attributes:
        mirrored: whether class modules see each image's mirror image, too.
    """

    kind: Literal["patched"] = "patched"
    weak: Parent
    class_names: ClassNames
    patches: Annotated[tuple[PatchEntry, ...], Field(min_length=1, max_length=10_000)]
    fusion: Fusion = Replacement()
    mirrored: bool = False

    @property
    def parents(self) -> tuple[Parent, ...]:
        """The weak model, then each patch's class module."""
        return (self.weak, *(patch.class_module for patch in self.patches))


NetworkManifest = ClassifierManifest | ClassModuleManifest
Manifest = Annotated[
    ClassifierManifest | ClassModuleManifest | PatchedModelManifest, Field(discriminator="kind")
]
AnyManifest = ClassifierManifest | ClassModuleManifest | PatchedModelManifest
