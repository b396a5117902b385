"""The model behind LitServe, which batches: ``python -m benchmarks.serving.litserve_server``.

Its arguments are a port and an archive. LitServe reads JSON and forms by itself; a body declared
as bytes, which it leaves to FastAPI, is the fastest of the three. It starts a process for HTTP,
one for the model, one for the queue between them, and their parent. The model's process asks that
queue for more every millisecond while a batch may still grow and also while there is nothing to
do.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import litserve
from fastapi import Body

if TYPE_CHECKING:
    from torch import Tensor

# Chosen for it, among others by measuring them in turns: see benchmarks/README.md.
MAX_BATCH_SIZE = 32
BATCH_TIMEOUT_SECONDS = 0.002


class PatchedApi(litserve.LitAPI):  # type: ignore[misc]
    """One image a request, many at once through the networks.

    Args:
        archive: that ``patchbay export`` wrote of a patched model.
    """

    def __init__(self, archive: Path) -> None:
        super().__init__(max_batch_size=MAX_BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_SECONDS)
        self._archive = archive

    def setup(self, device: str) -> None:
        """LitServe's: load the model, in the process that runs it; no other imports torch."""
        import torch

        from benchmarks.serving.plain_model import PlainModel

        torch.set_num_threads(1)
        self._model = PlainModel(self._archive)

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ) -> "list[Tensor]":
        """LitServe's: a body to what each network sees."""
        return self._model.prepared(request)

    def batch(self, inputs: "Sequence[list[Tensor]]") -> "list[Tensor]":
        """LitServe's: many of these to one."""
        import torch

        return [torch.cat(of_one_network) for of_one_network in zip(*inputs, strict=True)]

    def predict(self, x: "list[Tensor]") -> list[dict[str, Any]]:
        """LitServe's: an answer for each image."""
        return self._model.answers(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """LitServe's: they are one by one already."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """LitServe's: what becomes the JSON of an answer."""
        return {"predictions": [output]}


def main(port: int, archive: Path) -> None:
    """Answer on 127.0.0.1 until the process is ended."""
    _end_when_terminated()
    server = litserve.LitServer(
        PatchedApi(archive), accelerator="cpu", devices=1, workers_per_device=1
    )
    server.run(
        host="127.0.0.1",
        port=port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


def _end_when_terminated() -> None:
    """Have SIGTERM do what Ctrl-C does: only then does LitServe end its processes and itself.

    Those that it forks inherit this, and just leave.
    """
    parent = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt if os.getpid() == parent else SystemExit

    signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
