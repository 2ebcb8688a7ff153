"""The files for clusters against their own schemas and parsers, and the words in them against each other."""

import json
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import compose_spec
import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml

from tests.docker.conftest import ROOT, compose

DOCKER = ROOT / "docker"
SCRIPTS = ["node", "tracking", "make-secrets", "build-without-engine", "test-image", "slurm/sweep.sh"]
KUBERNETES = ["raycluster", "rayjob", "storage", "tracking"]
PLACEHOLDER = re.compile(r"SET-[\w-]+")


def documents(name: str) -> list[dict]:
    return list(yaml.safe_load_all((DOCKER / f"kubernetes/{name}.yaml").read_text()))


def ray_cluster(name: str) -> dict:
    [document] = documents(name)
    return document["spec"]["rayClusterSpec"] if document["kind"] == "RayJob" else document["spec"]


def pods(name: str) -> list[dict]:
    groups = [ray_cluster(name)["headGroupSpec"], *ray_cluster(name)["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts(script: str) -> None:
    assert (DOCKER / script).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", DOCKER / script], check=True)
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", DOCKER / script], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_compose() -> None:
    plain = compose()
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(plain)).validate()
    services = plain["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert other in services, name
        for secret in service.get("secrets", []):
            assert secret in plain["secrets"]
    ray_nodes = {name: service for name, service in services.items() if "ray_token" in service.get("secrets", [])}
    assert set(ray_nodes) == {"head", "worker", "worker-gpu", "submit"}
    for service in ray_nodes.values():
        assert service["shm_size"] == "4gb"
        assert "runs:/runs" in service["volumes"]
        assert service["environment"]["RAY_AUTH_TOKEN_PATH"] == "/run/secrets/ray_token"
    for name, service in services.items():
        assert ("healthcheck" in service) == (name != "submit")
    assert services["worker-gpu"]["profiles"] == ["gpu"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:5000:5000"]
    assert services["submit"]["environment"]["LTH_SWEEP_TRACKING_URI"] == "http://mlflow:5000"


@pytest.mark.parametrize(("variables", "port"), [({}, "5000"), ({"MLFLOW_PORT": "5001"}, "5001")])
def test_a_browser_may_call_mlflow_by_the_port_that_is_published(variables: dict[str, str], port: str) -> None:
    mlflow = compose(**variables)["services"]["mlflow"]
    assert mlflow["ports"] == [f"127.0.0.1:{port}:5000"]
    assert mlflow["environment"]["ALLOWED_HOSTS"] == f"mlflow:5000,localhost:{port},127.0.0.1:{port}"


@pytest.mark.parametrize("name", ["storage", "tracking"])
def test_kubernetes_own_kinds(name: str) -> None:
    for document in documents(name):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", ["raycluster", "rayjob"])
def test_kuberay(name: str) -> None:
    [document] = documents(name)
    assert document["apiVersion"] == "ray.io/v1"
    spec = ray_cluster(name)
    assert spec["rayVersion"] == version("ray")
    assert spec["authOptions"] == {"mode": "token"}
    for pod in pods(name):
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod},
            kubernetes_validate.latest_version(),
            strict=True,
        )
        [container] = pod["containers"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert volumes[mounts["/runs"]]["persistentVolumeClaim"] == {"claimName": "runs"}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert pod["securityContext"]["runAsNonRoot"] is True
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for pod in pods(name)]
    assert gpus == [None, None, "1"]


def test_a_job_that_is_retried_runs_the_same_command_on_the_same_claim() -> None:
    [job] = documents("rayjob")
    spec = job["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["suspend"] is False
    assert spec["backoffLimit"] == 5
    assert "--runs /runs --ray-address auto" in spec["entrypoint"]
    assert [claim["metadata"]["name"] for claim in documents("storage")] == ["runs"]


def test_rays_cluster_launcher() -> None:
    config = yaml.safe_load((DOCKER / "ray-cluster.yaml").read_text())
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    [(inside, outside)] = config["file_mounts"].items()
    assert outside == "docker/secrets/ray_token"  # as make-secrets makes it
    assert f"--env RAY_AUTH_TOKEN_PATH={inside}" in config["docker"]["run_options"]
    assert "/etc/profile.d/" in (DOCKER / "Dockerfile").read_text()  # the launcher's shells are login shells
    joining = "python -m lth_sweep.orchestration.joining"
    _, start, publish = config["head_start_ray_commands"]
    assert start.startswith("ray start --head --port=6379 ")
    assert publish == f"{joining} publish 127.0.0.1:6379"
    assert config["worker_start_ray_commands"][1] == f"{joining} check $RAY_HEAD_IP:6379"


def test_whoever_compares_versions_with_the_heads_has_a_head_that_says_them() -> None:
    files = [file for file in DOCKER.rglob("*") if file.is_file() and file.parent.name != "secrets"]
    texts = {file.name: file.read_text() for file in files}
    waiting = {name for name, text in texts.items() if re.search(r"(versions|joining)\W+check", text)}
    assert waiting == {"node", "compose.yaml", "ray-cluster.yaml", "sweep.sh"}
    for name in waiting:
        assert re.search(r"(versions|joining)\W+publish|\bnode\W+head\b", texts[name]), name


def test_what_has_to_be_set_is_named_in_the_page_and_is_no_valid_value() -> None:
    page = (ROOT / "docs/cluster.md").read_text()
    files = [DOCKER / f"kubernetes/{name}.yaml" for name in KUBERNETES] + [DOCKER / "ray-cluster.yaml"]
    found = {word for file in files for word in PLACEHOLDER.findall(file.read_text())}
    assert found == set(PLACEHOLDER.findall(page))
    assert all(word != word.lower() for word in found)  # names of images, classes and hosts have no capitals


def test_the_image_has_the_versions_that_were_tested_and_no_root() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    instructions = re.sub(r"\\\n", " ", text)
    stages = instructions.split("\nFROM ")[1:]
    assert all(stage.startswith("${BASE}") for stage in stages)
    for install in re.findall(r"pip install [^&|;]*", "".join(stages[:2])):
        assert "--constraint /source/constraints.txt" in install
    assert "\nUSER 1000:1000\n" in stages[-1]
    assert stages[-1].index("\nUSER ") > stages[-1].rindex("\nRUN ")
    assert "HEALTHCHECK" in stages[-1]
    copied = {word for line in re.findall(r"^COPY (?!--from).*", instructions, re.MULTILINE)
              for word in line.split()[1:-1] if not word.startswith("--")}  # fmt: skip
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert copied == allowed
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = (*project["dependencies"], *extras["export"], *extras["postgresql"], *extras["s3"])
    names = {re.split(r"[\[>=<]", requirement)[0] for requirement in wanted}
    assert names <= pinned
