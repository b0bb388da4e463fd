"""The manifests in deploy/ are valid, and restrict access as documented."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from support.custom_resources import SCHEMAS
from typer.main import get_command

import hybridspeech
from hybridspeech.cli import app
from hybridspeech.patches.raydp_datasets import JAVA_OPTIONS

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUBERNETES = "1.33"
RESOURCES = [
    pytest.param(each, id=f"{path.stem}-{each['kind']}-{each['metadata']['name']}")
    for path in sorted(FOLDER.glob("*.yaml"))
    for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [each.values[0] for each in RESOURCES if each.values[0]["kind"] == kind]


def pod_templates(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the templates of pods in a RayCluster or RayJob."""
    spec = resource["spec"].get("rayClusterSpec", resource["spec"])
    for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
        yield group["template"]


def spark_pods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield driver and executor of a SparkApplication as pods, as the operator creates them."""
    for role in ("driver", "executor"):
        given = resource["spec"][role]
        container = {
            "name": role,
            "image": resource["spec"]["image"],
            "securityContext": given["securityContext"],
            "volumeMounts": given["volumeMounts"],
        }
        yield {
            "metadata": {"labels": given["labels"]},
            "spec": {
                "securityContext": given["podSecurityContext"],
                "volumes": resource["spec"]["volumes"],
                "containers": [container],
            },
        }


def pods(resource: dict[str, Any]) -> list[dict[str, Any]]:
    if resource["kind"] == "SparkApplication":
        return list(spark_pods(resource))
    return list(pod_templates(resource)) if resource["kind"].startswith("Ray") else []


PODS = [
    pytest.param(pod, id=f"{each.id}-{number}") for each in RESOURCES for number, pod in enumerate(pods(each.values[0]))
]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_resource_is_valid(resource: dict[str, Any]) -> None:
    if resource["kind"] in SCHEMAS:
        jsonschema.validate(resource, SCHEMAS[resource["kind"]])
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    policy, job = copy.deepcopy(of_kind("NetworkPolicy")[0]), copy.deepcopy(of_kind("RayJob")[0])
    policy["spec"]["podSelecter"] = {}
    job["spec"]["rayClusterSpec"]["authOption"] = {"mode": "token"}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(policy, KUBERNETES, strict=True)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, SCHEMAS["RayJob"])


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_valid_and_meets_the_restricted_security_standard(pod: dict[str, Any]) -> None:
    whole = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", **pod["metadata"]},
        "spec": pod["spec"],
    }
    kubernetes_validate.validate(whole, KUBERNETES, strict=True)
    security = pod["spec"]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["spec"]["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["image"] == f"hybridspeech:{hybridspeech.__version__}"


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_reachable_from_pods_of_its_own_job_only(pod: dict[str, Any]) -> None:
    labels = pod["metadata"]["labels"]
    chosen = []
    for policy in of_kind("NetworkPolicy"):
        wanted = policy["spec"]["podSelector"].get("matchLabels", {})
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        if wanted.items() <= labels.items():
            chosen.append(policy)
    assert any(policy["spec"]["podSelector"] == {} and "ingress" not in policy["spec"] for policy in chosen)
    opened = [rule for policy in chosen for rule in policy["spec"].get("ingress", [])]
    own = [rule for rule in opened if "ports" not in rule]
    assert [rule["from"] for rule in own] == [
        [{"podSelector": {"matchLabels": {"app.kubernetes.io/instance": labels["app.kubernetes.io/instance"]}}}]
    ]
    others = [port["port"] for rule in opened if "ports" in rule for port in rule["ports"]]
    assert others in ([], [8265])  # Ray's dashboard, for KubeRay's operator; it requires the token


@pytest.mark.parametrize("resource", [*of_kind("RayCluster"), *of_kind("RayJob")], ids=lambda each: each["kind"])
def test_ray_requires_a_token_and_its_nodes_have_the_java_options(resource: dict[str, Any]) -> None:
    spec = resource["spec"].get("rayClusterSpec", resource["spec"])
    assert spec["authOptions"] == {"mode": "token"}
    for template in pod_templates(resource):
        (container,) = template["spec"]["containers"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        assert variables["JDK_JAVA_OPTIONS"] == JAVA_OPTIONS


def test_versions_are_those_of_the_lock() -> None:
    lock = (FOLDER.parents[1] / "requirements.lock").read_text(encoding="utf-8")
    assert f"pyspark=={of_kind('SparkApplication')[0]['spec']['sparkVersion']} " in lock
    assert f"ray=={of_kind('RayCluster')[0]['spec']['rayVersion']} " in lock


def test_commands_are_known_to_the_command_line() -> None:
    command = get_command(app)
    lines = [
        of_kind("SparkApplication")[0]["spec"]["arguments"],
        shlex.split(of_kind("RayJob")[0]["spec"]["entrypoint"])[1:],
    ]
    for verb, *arguments in lines:
        context = command.commands[verb].make_context(verb, list(arguments))  # type: ignore[attr-defined]
        assert context.params["engine" if verb == "preprocess" else "backend"] in ("spark", "ray")
