"""Small JSON schemas of the custom resources in deploy/, made from the operators' API references.

Only fields that deploy/ uses or that a reader may well add are in them; anything else is refused, so that a misspelt field
fails. Sources: kubeflow/spark-operator v2, config/crd/bases/sparkoperator.k8s.io_sparkapplications.yaml (v1beta2);
ray-project/kuberay v1.5 and later, ray-operator/config/crd/bases/ray.io_rayclusters.yaml and ray.io_rayjobs.yaml (v1).
Templates of pods are left open here: they are checked against the schema of a Pod.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
OPEN: Schema = {"type": "object"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}


def record(required: list[str], **properties: Schema) -> Schema:
    """An object with these fields and no other."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def resource(version: str, kind: str, spec: Schema) -> Schema:
    """A whole custom resource."""
    return record(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=record(["name"], name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
        spec=spec,
    )


_POD_FIELDS: dict[str, Schema] = {
    "cores": {"type": "integer", "minimum": 1},
    "coreLimit": TEXT,
    "memory": {"type": "string", "pattern": "^[0-9]+[kmgt]$"},
    "memoryOverhead": {"type": "string", "pattern": "^[0-9]+[kmgt]$"},
    "labels": TEXTS,
    "annotations": TEXTS,
    "env": {"type": "array"},
    "envFrom": {"type": "array"},
    "serviceAccount": TEXT,
    "podSecurityContext": OPEN,
    "securityContext": OPEN,
    "volumeMounts": {"type": "array"},
    "nodeSelector": TEXTS,
    "tolerations": {"type": "array"},
}
SPARK_APPLICATION = resource(
    "sparkoperator.k8s.io/v1beta2",
    "SparkApplication",
    record(
        ["type", "sparkVersion", "mainApplicationFile", "driver", "executor"],
        type={"enum": ["Java", "Python", "Scala", "R"]},
        pythonVersion={"enum": ["2", "3"]},
        mode={"enum": ["cluster", "client"]},
        sparkVersion=TEXT,
        image=TEXT,
        imagePullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
        mainApplicationFile=TEXT,
        arguments={"type": "array", "items": TEXT},
        restartPolicy=record(
            ["type"],
            type={"enum": ["Never", "Always", "OnFailure"]},
            onFailureRetries=COUNT,
            onFailureRetryInterval=COUNT,
            onSubmissionFailureRetries=COUNT,
            onSubmissionFailureRetryInterval=COUNT,
        ),
        sparkConf=TEXTS,
        hadoopConf=TEXTS,
        volumes={"type": "array"},
        timeToLiveSeconds=COUNT,
        driver=record([], **_POD_FIELDS),
        executor=record([], instances={"type": "integer", "minimum": 1}, **_POD_FIELDS),
    ),
)
_GROUP: dict[str, Schema] = {"rayStartParams": TEXTS, "template": OPEN, "labels": TEXTS, "resources": TEXTS}
_RAY_CLUSTER_SPEC = record(
    ["headGroupSpec"],
    rayVersion=TEXT,
    authOptions=record([], mode={"enum": ["disabled", "token"]}, secretName=TEXT),
    enableInTreeAutoscaling={"type": "boolean"},
    headGroupSpec=record(["template"], serviceType=TEXT, **_GROUP),
    workerGroupSpecs={
        "type": "array",
        "items": record(
            ["groupName", "minReplicas", "maxReplicas", "template"],
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            **_GROUP,
        ),
    },
)
RAY_CLUSTER = resource("ray.io/v1", "RayCluster", _RAY_CLUSTER_SPEC)
RAY_JOB = resource(
    "ray.io/v1",
    "RayJob",
    record(
        ["entrypoint"],
        entrypoint=TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=COUNT,
        activeDeadlineSeconds=COUNT,
        backoffLimit=COUNT,
        runtimeEnvYAML=TEXT,
        clusterSelector=TEXTS,
        rayClusterSpec=_RAY_CLUSTER_SPEC,
    ),
)
SCHEMAS = {"SparkApplication": SPARK_APPLICATION, "RayCluster": RAY_CLUSTER, "RayJob": RAY_JOB}
