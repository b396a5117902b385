from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from serving.errors import LaunchError
from serving.launch import child_environment, free_port, require_free_port, running_service, stop
from serving.settings import Settings


def test_a_port_in_use_is_a_clear_error_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        expected = rf"can't listen on 127\.0\.0\.1:{port}: Address already in use"
        with pytest.raises(LaunchError, match=expected), running_service(Settings(), port=port):
            pass


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_there_is_not_is_a_clear_error(port: int) -> None:
    with pytest.raises(LaunchError, match=f"can't listen on 127.0.0.1:{port}"):
        require_free_port("127.0.0.1", port)


def test_a_free_port_can_be_listened_on() -> None:
    require_free_port("127.0.0.1", free_port())


def test_the_child_gets_these_settings_and_none_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHBAY_MODEL_URI", "models:/other/1")
    monkeypatch.setenv("PATCHBAY_MAX_IMAGES", "7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    monkeypatch.chdir(tmp_path)
    settings = Settings(
        model_uri="models:/this/2", home=Path("home"), threads=3, samples=Path("samples")
    )
    environment = child_environment(settings, bentoml_home=tmp_path)
    assert Settings.from_environment(environment) == settings.model_copy(
        update={"home": tmp_path / "home", "samples": tmp_path / "samples"}
    )
    assert "MLFLOW_TRACKING_URI" not in environment
    assert environment["OMP_NUM_THREADS"] == "3"
    carried = Settings(archive=Path("model.patchbay"))
    environment = child_environment(carried, bentoml_home=tmp_path)
    assert environment["PATCHBAY_ARCHIVE"] == str(tmp_path / "model.patchbay")
    without_model = child_environment(Settings(), bentoml_home=tmp_path)
    assert "PATCHBAY_MODEL_URI" not in without_model


def test_a_service_and_its_children_are_stopped_though_they_ignore_it(tmp_path: Path) -> None:
    program = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "if len(sys.argv) == 1:\n"
        "    subprocess.Popen([sys.executable, __file__, 'x'], start_new_session=True)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    path = tmp_path / "stubborn.py"
    path.write_text(program)
    process = subprocess.Popen([sys.executable, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"up\n"] * 2
    children = psutil.Process(process.pid).children()
    assert len(children) == 1
    stop(process, grace_seconds=0.3)
    assert process.returncode == -signal.SIGKILL
    for child in children:
        with suppress(psutil.NoSuchProcess):  # gone; or nobody reaps it
            assert child.status() == psutil.STATUS_ZOMBIE
    process.stdout.close()
    stop(process)  # again is no error


@pytest.mark.slow
def test_a_model_that_can_t_be_served_is_the_reason_given(home: Path) -> None:
    settings = Settings(model_uri="models:/nothing@champion", home=home, device="cpu")
    expected = "no model to serve: .*nothing"
    with pytest.raises(LaunchError, match=expected), running_service(settings):
        pass


def test_settings_that_can_t_be_used_are_the_reason_given(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Settings.model_construct(**{**Settings().model_dump(), "device": "tpu"})
    with pytest.raises(LaunchError, match="PATCHBAY_DEVICE='tpu'"), running_service(broken):
        pass


def test_a_service_that_takes_too_long_is_stopped() -> None:
    with (
        pytest.raises(LaunchError, match=r"not ready after 0\.2 seconds"),
        running_service(Settings(), start_seconds=0.2),
    ):
        pass
