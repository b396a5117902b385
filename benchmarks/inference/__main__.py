"""``python -m benchmarks.inference``: the measurement where only torch is installed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.inference.run import measure_inference
from benchmarks.inference.settings import BATCHES, InferenceSettings, random_networks


def main() -> None:
    """Measure as the arguments say and write everything, as JSON, to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--architecture", nargs="+", default=["simcnn", "rescnn"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--width", type=float, nargs="+", default=[1.0])
    parser.add_argument("--batch", type=int, nargs="+")
    parser.add_argument("--modules", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--no-processes", dest="processes", action="store_false")
    parser.add_argument("--no-memory", dest="memory", action="store_false")
    parser.add_argument("--out", type=Path, required=True)
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    batches = asked.pop("batch") or BATCHES[asked["device"]]
    networks = random_networks(asked.pop("architecture"), asked.pop("width"), seed=0)
    settings = [
        InferenceSettings.model_validate({**asked, "batches": batches, "networks": one})
        for one in networks
    ]
    found = measure_inference(settings, told=_tell)
    out.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    sys.stdout.writelines(f"{line}\n" for line in lines(found))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Rows and verdicts as plain text."""
    for one in found["rows"]:
        held = one.get("process_bytes")
        yield (
            f"{one['model']:14} {one['name']:15} {one['executor']:13} {one['batch']:4} "
            f"{one['p50_ms']:9.3f} ms  x{one['ratio_to_weak']:.3f} "
            f"[{one['ratio_low']:.3f}, {one['ratio_high']:.3f}]"
            + ("" if held is None else f"  {held / 2**20:,.0f} MiB")
        )
    for one in found["verdicts"]:
        yield (
            f"{one['model']:14} {one['name']} at {one['batch']}: {one['median']:.3f}, "
            f"aim {one['aim']}: {one['verdict']}"
        )


if __name__ == "__main__":
    main()
