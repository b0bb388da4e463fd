"""What the patches of Ray, Ray Train and RayDP assume, and whether their reasons still hold."""

from __future__ import annotations

import subprocess
import sys

from support.upstream import source_of


def test_ray_reads_the_switch_for_loopback_from_its_constants() -> None:
    assert "if not ray_constants.ENABLE_RAY_CLUSTER:" in source_of("ray._private.services")
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in source_of("ray._private.ray_constants")


def test_ray_init_takes_folder_and_address_as_underscore_arguments() -> None:
    init = source_of("ray._private.worker", "init")
    assert "kwargs.pop('_temp_dir', None)" in init
    assert "kwargs.pop('_node_ip_address', None)" in init


def test_the_token_is_read_again_after_a_reset() -> None:
    code = """
import os
os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a" * 64)
from ray._raylet import AuthenticationTokenLoader as Loader
from hybridspeech.patches.ray_core import reset_token
headers = [Loader.instance().get_token_for_http_header()]
os.environ["RAY_AUTH_TOKEN"] = "b" * 64
headers.append(Loader.instance().get_token_for_http_header())
reset_token()
headers.append(Loader.instance().get_token_for_http_header())
assert headers[0] == headers[1] != headers[2], headers
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_package_of_ray_train_imports_tensorflow_and_the_replacement_does_not() -> None:
    assert "import tensorflow" in source_of("ray.train.tensorflow")
    code = """
import sys
from hybridspeech.patches.ray_train import skip_tensorflow_import
skip_tensorflow_import()
from ray.train.tensorflow import TensorflowConfig
from ray.train.v2.tensorflow.tensorflow_trainer import TensorflowTrainer
assert 'tensorflow' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_raydp_pins_the_data_of_a_dataset_and_has_a_function_to_release_it() -> None:
    module = "raydp.spark.dataset"
    assert source_of(module, "release_spark_recoverable").startswith("def release_spark_recoverable(df: sql.DataFrame)")
    assert "spark.ray.raydp_recoverable_fetch.task.resource.CPU" in source_of(module, "from_spark_recoverable")
