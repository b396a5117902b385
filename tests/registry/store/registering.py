"""Many processes that register at once: ``python -m tests.registry.store.registering PLAN``.

The process imports everything, forks its children before any store is open, and lets them all
go at the same moment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from registry.registry import Registry
from registry.store.client import import_mlflow
from tests.registry.conftest import make_classifier, make_decomposition, make_trained


@dataclass(frozen=True)
class Plan:
    """Who registers what.

    Attributes:
        home: the embedded store's folder; None takes the server that the environment names.
        processes: how many.
        shared: decompositions of one class each that every process registers under one name.
        own: decompositions of three classes each that every process registers under a name of
            its own.
        prefix: what every name begins with.
    """

    home: str | None
    processes: int
    shared: int
    own: int
    prefix: str = "at-once"

    @property
    def strong_name(self) -> str:
        """The strong models' name, which all processes share."""
        return f"{self.prefix}-strong"

    @property
    def shared_name(self) -> str:
        """The name that all processes' decompositions of one class share."""
        return f"{self.prefix}-shared"

    @property
    def modules(self) -> int:
        """How many class modules there are in the end."""
        return self.processes * (self.shared + 3 * self.own)


@dataclass(frozen=True)
class Registered:
    """What one process did: addresses, and seconds for opening and for all of its class modules."""

    uris: tuple[str, ...]
    open_seconds: float
    seconds: float


def register_at_once(plan: Plan, folder: Path, *, tracking_uri: str | None = None) -> Any:
    """Run a plan in processes of its own; fails if one of them says anything on stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW", "PATCHBAY"))}
    environment |= {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    if tracking_uri is not None:
        environment["MLFLOW_TRACKING_URI"] = tracking_uri
    command = [sys.executable, "-m", __spec__.name, json.dumps(asdict(plan)), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stderr == "", done.stderr[-3000:]
    assert done.returncode == 0
    answers = [json.loads(path.read_text()) for path in sorted(folder.glob("answer-*.json"))]
    return [Registered(tuple(a.pop("uris")), **a) for a in answers]


def _register(plan: Plan, process: int) -> Registered:
    start = time.perf_counter()
    registry = Registry.open(plan.home)
    opened = time.perf_counter()
    strong_uri = registry.add_classifier(make_trained(plan.strong_name, seed=process))
    begin = time.perf_counter()
    record = make_decomposition(plan.shared_name, make_classifier())
    uris: list[str] = []
    for number in range(plan.shared + plan.own):
        mine = replace(record, metrics={"process": float(process), "number": float(number)})
        if number < plan.shared:
            mine = replace(mine, classes=mine.classes[:1])
        else:
            mine = replace(mine, name=f"{plan.prefix}-own-{process}")
        uris += registry.add_decomposition(mine, strong_uri=strong_uri)
    return Registered(tuple(uris), opened - start, time.perf_counter() - begin)


def _child(plan: Plan, process: int, folder: Path, gate: tuple[int, int]) -> int:
    os.close(gate[1])
    os.read(gate[0], 1)  # until the parent closes its end
    try:
        answer = json.dumps(asdict(_register(plan, process)))
    except BaseException:
        traceback.print_exc()
        return 1
    (folder / f"answer-{process}.json").write_text(answer)
    return 0


def main(arguments: Sequence[str]) -> int:
    plan, folder = Plan(**json.loads(arguments[0])), Path(arguments[1])
    # Once, not in every child: what MLflow imports, and what torch imports when it first works.
    import_mlflow("sqlite://" if plan.home else "http://")
    make_decomposition(plan.shared_name, make_classifier())
    gate = os.pipe()
    children = []
    for process in range(plan.processes):
        child = os.fork()
        if child == 0:
            code = _child(plan, process, folder, gate)
            sys.stderr.flush()
            os._exit(code)
        children.append(child)
    os.close(gate[0])
    os.close(gate[1])
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
