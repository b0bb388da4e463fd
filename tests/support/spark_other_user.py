"""Another user of the machine: requests a Spark endpoint from every port, without a secret. A program; its arguments are ports.

It prints the ports on which a Spark process answered. Such an endpoint also runs commands, such as LaunchExecutor.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hybridspeech.clusters.spark_settings import spark_environment
from hybridspeech.processes.environment import python_path


def open_ports(ports: Iterable[int], folder: Path) -> set[int]:
    """Return the ports on which a Spark process answers a client without its secret."""
    variables = {**os.environ, **spark_environment(folder), "PYTHONPATH": python_path()}
    command = [sys.executable, "-m", "support.spark_other_user", *map(str, sorted(ports))]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return set(map(int, done.stdout.split()))


def main(ports: list[int]) -> None:
    """Send a request to each port, and print those that answer."""
    from py4j.protocol import Py4JJavaError
    from pyspark import SparkConf
    from pyspark.java_gateway import launch_gateway

    gateway = launch_gateway(
        SparkConf(loadDefaults=False), {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    )
    spark, module = (
        gateway.jvm.org.apache.spark,
        gateway.jvm.java.lang.Class.forName("org.apache.spark.SecurityManager$"),
    )
    companion = module.getField("MODULE$").get(None)
    key_file = getattr(companion, "$lessinit$greater$default$3")()
    conf = spark.SparkConf(False).set("spark.rpc.askTimeout", "5s").set("spark.rpc.lookupTimeout", "5s")
    conf.set("spark.rpc.io.maxRetries", "0").set("spark.network.timeout", "10s")
    security = spark.SecurityManager(conf, gateway.jvm.scala.Option.empty(), key_file)
    env = spark.rpc.RpcEnv.create("other-user", "127.0.0.1", "127.0.0.1", 0, conf, security, 0, True)

    def answers(port: int) -> bool:
        try:
            env.setupEndpointRef(spark.rpc.RpcAddress("127.0.0.1", port), "Worker")
        except Py4JJavaError as error:
            sys.stderr.write(f"{port}: {error.java_exception}\n")
            return "Cannot find endpoint" in str(error)
        return True

    with ThreadPoolExecutor(len(ports)) as pool:  # most ports are silent until the time-out
        answering = list(pool.map(answers, ports))
    sys.stdout.write("".join(f"{port}\n" for port, answered in zip(ports, answering, strict=True) if answered))
    gateway.shutdown()


if __name__ == "__main__":
    main([int(port) for port in sys.argv[1:]])
