"""A version's diagnoses: what is stored with it, and what is known of each afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from modularizer.diagnosis import Diagnosis
from modularizer.records import Provenance


@dataclass(frozen=True)
class DiagnosedVersion:
    """A diagnosis with what is needed to believe it.

    Attributes:
        uri: the version that was diagnosed.
        split: which part of the data judged it: ``validation`` or ``test``.
        diagnosis: the numbers.
        provenance: settings; of the data its name and the fingerprint of the images that judged.
    """

    uri: str
    split: str
    diagnosis: Diagnosis
    provenance: Provenance

    def as_json(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "uri": self.uri,
            "split": self.split,
            "data": {
                "source": self.provenance.data_source,
                "fingerprint": self.provenance.data_fingerprint,
            },
            "settings": {**self.provenance.settings, "seed": self.provenance.seed},
            **self.diagnosis.as_json(),
        }


@dataclass(frozen=True)
class StoredDiagnosis:
    """A diagnosis that was stored with a version, in short.

    Attributes:
        run_id: MLflow's run that holds all of it, as ``diagnosis.json`` and pictures.
        created: when it began, in UTC.
        user: whose process made it.
        split: which part of the data judged: ``validation`` or ``test``.
        data_source: where the images came from.
        data_fingerprint: SHA-256 of the images that judged, 64 hex digits.
        images: how many they were.
        accuracy: the share that was answered right.
        macro_f1: the mean F1 of the classes that had images.
        worth_patching: the classes that were, the weakest first; of very many, the first ones.
        worth_patching_count: how many they were.
    """

    run_id: str
    created: datetime
    user: str
    split: str
    data_source: str
    data_fingerprint: str
    images: int
    accuracy: float
    macro_f1: float
    worth_patching: tuple[str, ...]
    worth_patching_count: int
