"""The other servers, each as a real process of the same model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks.serving.asking import Asking, ask
from benchmarks.serving.contenders import CONTENDERS, is_installed
from benchmarks.serving.cores import choose_cores
from benchmarks.serving.generator import LoadGenerator
from benchmarks.serving.orders import ClosedLoop
from benchmarks.serving.payloads import plain_payloads
from benchmarks.serving.peer import child_server
from benchmarks.serving.peers import module_server
from benchmarks.serving.rows import failures
from benchmarks.serving.settings import PEERS
from benchmarks.serving.subject import TOY, Subject, register_subject
from registry.registry import Registry
from serving.errors import LaunchError
from serving.launch import free_port
from tests.waiting import wait_until

OF_OUR_WRITING = ("starlette", "litserve")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry.open(tmp_path_factory.mktemp("contenders") / "home")


@pytest.fixture(scope="module")
def subject(registry: Registry) -> Subject:
    return register_subject(registry, TOY, seed=3)


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended; a zombie that nobody reaps has."""
    found = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def command_of(process: psutil.Process) -> str:
    """Empty for one that has ended meanwhile, or is another user's."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def test_every_peer_is_known() -> None:
    assert tuple(CONTENDERS) == PEERS
    assert all(is_installed(name) for name in PEERS)


def test_a_package_that_is_not_there_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litserve", None)
    assert not is_installed("litserve")


@pytest.mark.slow  # starts servers that import torch
@pytest.mark.parametrize("name", OF_OUR_WRITING)
def test_its_answers_are_the_offline_model_s_and_nothing_of_it_stays(
    name: str, registry: Registry, subject: Subject, tmp_path: Path
) -> None:
    cores = choose_cores()
    contender = CONTENDERS[name]
    payloads = contender.payloads(subject)
    with (
        LoadGenerator(cores.load) as generator,
        contender.serving(registry, subject, tmp_path / name, core=cores.service) as peer,
    ):
        processes = [psutil.Process(peer.processes.pid), *peer.processes.children()]
        assert (len(processes) > 3) == (name == "litserve")
        for process in processes:
            assert process.cpu_affinity() == [cores.service]
            listening = process.net_connections(kind="inet")
            assert {one.laddr.ip for one in listening} <= {"127.0.0.1"}
            assert {one.raddr.ip for one in listening if one.raddr} <= {"127.0.0.1"}
        peer.processes.pause()
        for payload in payloads.values():
            assert len({one.labels for one in payload.exchanges}) > 1
            asking = Asking(name, peer, payload)
            found = ask(generator, asking, ClosedLoop(clients=6), seconds=4)
            assert len(found.window.answered["ok"].sent_s) > 0
            assert not failures(found.window)
            assert found.cpu_seconds > 0
            assert found.rss_mib > 200  # of which torch
    wait_until(lambda: not running(processes), "nothing of it goes on")


@pytest.mark.slow  # waits for servers that import torch
@pytest.mark.parametrize("name", OF_OUR_WRITING)
def test_one_without_its_model_is_told_with_its_log(name: str, tmp_path: Path) -> None:
    before = {process.pid for process in psutil.process_iter()}
    nowhere = tmp_path / "nothing-here"
    with (
        pytest.raises(LaunchError, match=r"did not become ready; its log ends with\n(.|\n)+Error"),
        module_server(f"{name}_server", nowhere, tmp_path / "scratch", core=None),
    ):
        pass
    new = [one for one in psutil.process_iter() if one.pid not in before]
    assert not [one for one in running(new) if str(nowhere) in command_of(one)]
    assert str(nowhere) in (tmp_path / "scratch" / "log").read_text()


def test_children_of_one_that_died_are_ended_too(tmp_path: Path) -> None:
    orphan = "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid()));"
    code = (
        "import pathlib, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {orphan + 'time.sleep(600)'!r}])\n"
        "while not (pathlib.Path('pid').exists() and pathlib.Path('pid').read_text()):\n"
        "    time.sleep(0.01)\n"
        "sys.exit('no memory left')\n"
    )
    with (
        pytest.raises(LaunchError, match="no memory left"),
        child_server(["-c", code], port=free_port(), ready_path="/", scratch=tmp_path, core=None),
    ):
        pass
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not (psutil.pid_exists(pid) and running([psutil.Process(pid)])))


def test_plain_servers_get_the_small_files_of_the_service(subject: Subject) -> None:
    payloads = plain_payloads(subject)
    assert list(payloads) == ["npy", "png"]
    assert {one.path for one in payloads.values()} == {"/predict"}


def test_the_plain_servers_import_no_mlflow() -> None:
    """What somebody would write by hand would not, and its memory and start would pay for it."""
    code = "import benchmarks.serving.starlette_server, sys; print('mlflow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
