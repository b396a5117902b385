from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import BundleError
from registry.store.places import Bucket, Folder, Place, Served, place_of

SERVER = "https://store.example/mlflow"
API = f"{SERVER}/api/2.0"
FILES = f"{API}/mlflow-artifacts/artifacts"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/srv/models", Folder(Path("/srv/models"))),
        ("file:///srv/a%20b", Folder(Path("/srv/a b"))),
        ("file://localhost/srv", Folder(Path("/srv"))),
        ("mlflow-artifacts:/1/models", Served(API, "1/models")),
        ("mlflow-artifacts:/", Served(API, "")),
        ("mlflow-artifacts://store.example/1", Served(API, "1")),
        ("mlflow-artifacts://STORE.example:443/1", Served(API, "1")),
        (f"{FILES}/1/m", Served(API, "1/m")),
        (
            f"https://store.example:443{FILES.removeprefix('https://store.example')}",
            Served(API, ""),
        ),
        ("s3://bucket/x", Bucket("s3://bucket/x")),
        ("gs://bucket/x", Bucket("gs://bucket/x")),
        *(
            (location, Bucket(location))
            for location in (
                "wasbs://box@account.blob.core.windows.net/x",
                "abfss://box@account.dfs.core.chinacloudapi.cn/x",
                "abfss://space@onelake.dfs.fabric.microsoft.com/x",
                "r2://bucket@0123.r2.cloudflarestorage.com/x",
                "b2://bucket@s3.us-west-004.backblazeb2.com/x",
                "hdfs:/x",
                "hdfs://namenode:8020/x",
                "viewfs://cluster/x",
            )
        ),
    ],
)
def test_files_may_lie_in_folders_with_the_store_and_in_buckets(
    location: str, expected: Place
) -> None:
    assert place_of(SERVER, location) == expected


@pytest.mark.parametrize(
    "location",
    [
        "http://store.example/mlflow/api/2.0/mlflow-artifacts/artifacts/1",
        "https://store.example:8443/api/2.0/mlflow-artifacts/artifacts/1",
        "https://store.example.evil/api/2.0/mlflow-artifacts/artifacts/1",
        "https://store.example@evil.example/api/2.0/mlflow-artifacts/artifacts/1",
        "mlflow-artifacts://evil.example/1",
        "mlflow-artifacts://store.example:80/1",
        "HTTPS://evil.example/api/2.0/mlflow-artifacts/artifacts/1",
        "http:///1",
    ],
)
def test_another_server_is_refused_by_its_name(location: str) -> None:
    with pytest.raises(BundleError, match=r"neither read nor written.*https://store\.example"):
        place_of(SERVER, location)


def test_a_refusal_tells_no_password() -> None:
    with pytest.raises(BundleError) as told:
        place_of("https://me:secret@store.example", "https://me:secret@evil.example/1")
    assert "evil.example" in str(told.value)
    assert "secret" not in str(told.value)


def test_a_host_that_programs_read_differently_is_the_stores_own_in_any_case() -> None:
    location = f"https://evil.example\\@store.example{FILES.removeprefix('https://store.example')}"
    assert place_of(SERVER, location) == Served(API, "")


@pytest.mark.parametrize("location", ["mlflow-artifacts:/1", "http://127.0.0.1:9/1"])
def test_a_store_in_a_folder_has_no_server(location: str) -> None:
    with pytest.raises(BundleError, match="no server"):
        place_of("sqlite:////srv/mlflow.db", location)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://host/x",
        "sftp://host/x",
        "dbfs:/x",
        "runs:/0123/x",
        "models:/m-0123",
        "data:text/plain,x",
        "plugin://x",
        "file://elsewhere/x",
        "s3:///x",
        "wasbs://box@evil.example/x",
        "abfss://box@account.evil.example/x",
        "r2://bucket@evil.example/x",
        "r2://bucket@evil.example\\.r2.cloudflarestorage.com/x",
        "b2://bucket@evil.example?.backblazeb2.com/x",
    ],
)
def test_what_is_neither_is_refused_by_its_name(location: str) -> None:
    scheme = location.partition(":")[0]
    with pytest.raises(BundleError, match=f"'{scheme}:.*neither read nor written"):
        place_of(SERVER, location)


@pytest.mark.parametrize(
    "location",
    [
        "mlflow-artifacts:/../../../users/create",
        "mlflow-artifacts:/a/%2e%2E/b",
        f"{FILES}/a/../b",
        f"{FILES}/a?b=c",
        f"{FILES}/a#b",
        "https://store.example/other/1",
        "https://store.example:port/1",
        "https://[store.example/1",
    ],
)
def test_an_address_on_the_server_that_is_no_path_to_files_is_refused(location: str) -> None:
    with pytest.raises(BundleError):
        place_of(SERVER, location)
