"""An exported model in the form that MLflow's own tools score with."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modularizer.software import software_versions
from registry.errors import ArchiveError

ARCHIVE_FILE = "model.patchbay"
_REQUIRED = ("patchbay", "mlflow", "torch", "torchvision", "numpy", "safetensors", "pillow")


def save_pyfunc(archive: Path, target: Path, *, loader: str, columns: dict[str, str]) -> None:
    """Write a folder that ``mlflow.pyfunc.load_model`` and ``spark_udf`` take.

    It holds the archive, and names the module of the installed package that loads it: no code is
    stored in it.

    Args:
        archive: of the model and all it needs.
        target: the folder; it must not be there yet.
        loader: the module with ``_load_pyfunc``.
        columns: of the answers, name to type in MLflow's words; lists as ``array<type>``.

    Raises:
        ArchiveError: if the folder is there already, or can't be written.
    """
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    if target.exists():
        raise ArchiveError(f"{target} is there already; remove it, or choose another folder")
    signature = ModelSignature(
        inputs=Schema([ColSpec("binary", "image")]),
        outputs=Schema([ColSpec(_type(kind), name) for name, kind in columns.items()]),
    )
    found = {name: v for name, v in software_versions(*_REQUIRED).items() if name in _REQUIRED}
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
            folder = Path(temporary, "model")
            mlflow.pyfunc.save_model(
                path=str(folder),
                loader_module=loader,
                data_path=str(archive),
                signature=signature,
                pip_requirements=[f"{name}=={v.partition('+')[0]}" for name, v in found.items()],
            )
            shutil.move(folder, target)
    except OSError as error:
        raise ArchiveError(f"{target} can't be written: {error.strerror or error}") from error


def _type(kind: str) -> Any:
    from mlflow.types.schema import Array, DataType

    inner = kind.removeprefix("array<").removesuffix(">")
    plain = DataType[inner]
    return plain if inner == kind else Array(plain)
