"""The files for several machines: accepted by their schemas, and as careful with secrets, rights and ends as the page says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from polychat import config
from polychat.http.server.listening import check

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"
CHART, MANIFESTS, COMPOSE = DEPLOY / "helm" / "polychat", DEPLOY / "kubernetes" / "polychat.yaml", DEPLOY / "compose"
KUBERNETES = "1.30"
"""The oldest version that the chart supports."""
HELM = "helm is not installed: go install helm.sh/helm/v3/cmd/helm@latest, or https://helm.sh/docs/intro/install"


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return [manifest for manifest in yaml.safe_load_all(MANIFESTS.read_text()) if manifest]


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    return content


def pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each workload runs, by its component."""
    templates = [one["spec"]["template"] for one in objects if one["kind"] in ("Deployment", "StatefulSet")]
    return {one["metadata"]["labels"]["app.kubernetes.io/component"]: one["spec"] for one in templates}


def test_the_manifests_fit_the_schemas_of_kubernetes(objects: list[dict[str, Any]]) -> None:
    """Of the oldest supported version, without an unknown field; and each selector selects what the file has."""
    validating = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for one in objects:
        validating.validate(one, KUBERNETES, strict=True)
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in objects if "template" in one.get("spec", {})]
    for one in objects:
        if one["kind"] == "Service":
            assert one["spec"]["selector"] in labels
    assert {one["kind"] for one in objects} >= {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"}
    assert "Secret" not in {one["kind"] for one in objects}, "a Secret in a file is a secret in plain text"


def test_pods_have_few_rights_and_limits(objects: list[dict[str, Any]]) -> None:
    """No root, no file system to write, no privileges, no token of the cluster; memory and probes for each."""
    for name, pod in pods(objects).items():
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            rights = container["securityContext"]
            assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
            assert container["readinessProbe"]
            assert not any("secretKeyRef" in str(entry) or "PASSWORD=" in str(entry) for entry in container.get("env", ())), (
                name
            )


def test_a_pod_ends_when_its_replies_have(objects: list[dict[str, Any]]) -> None:
    """It has left the Service before SIGTERM, and is not killed before ``gateway.grace``; a new one comes before."""
    gateway = pods(objects)["gateway"]
    (container,) = gateway["containers"]
    (file,) = (one["data"]["polychat.toml"] for one in objects if one["kind"] == "ConfigMap")
    grace = float(next(line.split("=")[1] for line in file.splitlines() if line.startswith("grace")))
    assert gateway["terminationGracePeriodSeconds"] >= container["lifecycle"]["preStop"]["sleep"]["seconds"] + grace + 5
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    (deployment,) = (one for one in objects if one["kind"] == "Deployment" and "valkey" not in one["metadata"]["name"])
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert deployment["spec"]["replicas"] >= 2


def test_both_configurations_are_good(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    """The strict reader takes them, they may be served to others, and each secret that they name is mounted."""
    (text,) = (one["data"]["polychat.toml"] for one in objects if one["kind"] == "ConfigMap")
    (tmp_path / "polychat.toml").write_text(text)
    mounts = {mount["mountPath"] for mount in pods(objects)["gateway"]["containers"][0]["volumeMounts"]}
    assert {"/run/secrets/polychat", "/etc/polychat", "/var/lib/polychat"} <= mounts
    mounted = {"/run/secrets/polychat/": None, "/run/secrets/": compose()["services"]["gateway"]["secrets"]}
    for (place, names), file in zip(mounted.items(), (tmp_path / "polychat.toml", COMPOSE / "polychat.toml"), strict=True):
        read = config.read(file)
        check(read.gateway)
        assert read.gateway.state is not None
        references = [read.gateway.state.url, read.gateway.state.shared, read.providers["openai"]["api_key"]]
        assert all(reference.startswith(f"file:{place}") for reference in references)
        assert names is None or {reference.removeprefix(f"file:{place}") for reference in references} == {*names}


def test_compose_is_as_careful() -> None:
    """Each service: a file system that cannot be written, no rights, a limit, a test of health; secrets are files."""
    services_file = compose()
    services, grace = services_file["services"], config.read(COMPOSE / "polychat.toml").gateway.grace
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
        assert name == "load-balancer" or (service["healthcheck"]["test"] and not service["user"].startswith("0"))
        assert {*service.get("secrets", ())} <= services_file["secrets"].keys()
        assert {*service["networks"]} <= services_file["networks"].keys()
        for value in (service.get("environment") or {}).values():
            assert "secret" not in str(value) or str(value).startswith("/run/secrets/")
    assert int(services["gateway"]["stop_grace_period"].removesuffix("s")) > grace + 5
    assert services_file["networks"]["back"] == {"internal": True}
    assert all(one["file"].startswith("./secrets/") for one in services_file["secrets"].values())
    assert (COMPOSE / ".gitignore").read_text() == "/secrets/\n"


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    """Every file that compose names, in a folder of its owner's, and none is written again."""
    script = shutil.copy(COMPOSE / "secrets.sh", tmp_path)
    for _ in range(2):
        subprocess.run(["sh", script], check=True, env={"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "sk-1"}, timeout=60)
    folder = tmp_path / "secrets"
    assert folder.stat().st_mode & 0o077 == 0
    made = {file.name: file.read_text() for file in folder.iterdir()}
    assert {f"./secrets/{name}" for name in made} == {one["file"] for one in compose()["secrets"].values()}
    assert made["database_url"] == f"postgresql://polychat:{made['database_password']}@postgresql/polychat"
    assert len(made["valkey_password"]) == 48
    assert made["openai_key"] == "sk-1"


def test_docker_takes_the_compose_file() -> None:
    """Its own reader, with the schema of compose files."""
    docker = shutil.which("docker")
    command = [docker or "", "compose", "-f", str(COMPOSE / "compose.yaml"), "config", "--quiet"]
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed: apt-get install docker-compose-v2")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def rendered(*settings: str) -> str:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip(HELM)
    command = [helm, "template", "polychat", str(CHART), *settings]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_the_manifests_are_the_charts(objects: list[dict[str, Any]]) -> None:
    """With its default values: ``helm template polychat examples/deploy/helm/polychat``, in whatever order."""
    manifests = [one for one in yaml.safe_load_all(rendered()) if one]
    by_name = [{(one["kind"], one["metadata"]["name"]): one for one in each} for each in (manifests, objects)]
    assert by_name[0] == by_name[1]


def test_the_chart_without_its_databases() -> None:
    """And with what scales by itself: the schema of Kubernetes takes it, and no database is left."""
    settings = ["--set", "postgresql.enabled=false,valkey.enabled=false,autoscaling.enabled=true"]
    manifests = [one for one in yaml.safe_load_all(rendered(*settings)) if one]
    assert {one["kind"] for one in manifests} & {"StatefulSet", "NetworkPolicy"} == set()
    assert "HorizontalPodAutoscaler" in {one["kind"] for one in manifests}
    validating = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for one in manifests:
        validating.validate(one, KUBERNETES, strict=True)
