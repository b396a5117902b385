"""The manifest for Kubernetes, as far as that can be known without a cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from bentoml._internal.container.generate import BENTO_UID_GID

from serving.settings import Settings
from tests.deploy.known import DEPLOY, MLFLOW_S, OURS, PAGE, PROBED, image

SERVICE: dict[str, Any]
DEPLOYMENT: dict[str, Any]
SERVICE, DEPLOYMENT = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
POD: dict[str, Any] = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]
BENTOML_S = {"BENTOML_HOME"}


def test_requests_find_the_pods() -> None:
    assert (SERVICE["kind"], DEPLOYMENT["kind"]) == ("Service", "Deployment")
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert SERVICE["spec"]["selector"] == DEPLOYMENT["spec"]["selector"]["matchLabels"] == labels
    [port] = SERVICE["spec"]["ports"]
    assert CONTAINER["ports"] == [{"name": port["targetPort"], "containerPort": 3000}]


@pytest.mark.parametrize(
    ("probe", "path"), [("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")]
)
def test_probes_ask_routes_that_there_are(probe: str, path: str) -> None:
    assert CONTAINER[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}
    assert path in PROBED


def test_prometheus_is_told_where_the_metrics_are() -> None:
    told = DEPLOYMENT["spec"]["template"]["metadata"]["annotations"]
    assert told["prometheus.io/path"] in PROBED
    assert told["prometheus.io/port"] == "3000"


def test_every_variable_is_one_that_is_read_and_the_service_takes_the_values() -> None:
    given = {one["name"]: one.get("value") for one in CONTAINER["env"]}
    assert given.keys() <= OURS | MLFLOW_S | BENTOML_S
    plain = {name: value for name, value in given.items() if value is not None}
    assert Settings.from_environment(plain).device == "cuda"
    # Of a service called like this one, Kubernetes would make variables that begin like ours.
    assert SERVICE["metadata"]["name"] == "patchbay"
    assert POD["enableServiceLinks"] is False


def test_secrets_are_read_from_the_one_that_the_page_makes() -> None:
    refs = {
        one["name"]: one["valueFrom"]["secretKeyRef"]
        for one in CONTAINER["env"]
        if "valueFrom" in one
    }
    assert refs.keys() == {"PATCHBAY_ADMIN_TOKEN", "MLFLOW_TRACKING_TOKEN"}
    made = re.search(r"kubectl create secret generic (\S+) --from-literal=([a-z-]+)=", PAGE)
    assert made is not None
    assert refs["PATCHBAY_ADMIN_TOKEN"] == {"name": made[1], "key": made[2]}
    assert refs["MLFLOW_TRACKING_TOKEN"]["optional"]


def test_a_replica_has_a_gpu_and_an_upgrade_asks_for_no_other() -> None:
    assert CONTAINER["resources"]["limits"]["nvidia.com/gpu"] == 1
    rolling = DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}
    assert CONTAINER["image"] == image()


def test_an_answer_has_time_to_be_ended() -> None:
    sleep, seconds = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    needed = int(seconds) + Settings().deadline_seconds
    assert POD["terminationGracePeriodSeconds"] >= needed + 5


def test_it_runs_as_the_image_s_user_with_nothing_but_its_folders_to_write_to() -> None:
    assert POD["securityContext"]["runAsNonRoot"]
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        assert POD["securityContext"][name] == BENTO_UID_GID
    allowed = CONTAINER["securityContext"]
    assert allowed["readOnlyRootFilesystem"]
    assert not allowed["allowPrivilegeEscalation"]
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    mounted = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}
    assert mounted == {"cache": "/cache", "scratch": "/tmp"}
    assert {one["name"] for one in POD["volumes"]} == mounted.keys()
    given = {one["name"]: one.get("value") for one in CONTAINER["env"]}
    assert given["PATCHBAY_CACHE"] == mounted["cache"]
    assert str(given["BENTOML_HOME"]).startswith(mounted["scratch"])
