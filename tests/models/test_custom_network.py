"""Networks named "module:function": checked on the driver without TensorFlow, built in a worker."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hybridspeech.errors import ConfigError
from hybridspeech.models.build import build_model, check_model
from hybridspeech.models.config import ModelConfig


def config(function: str) -> ModelConfig:
    name = function if ":" in function else f"support.own_network:{function}"
    return ModelConfig(name=name, input_shape=(8, 9), num_labels=3, dropout=0.2, width=1.0)


@pytest.mark.parametrize("function", ["small", "imported", "decorated"])
def test_a_custom_network_is_checked_and_built(function: str) -> None:
    check_model(config(function))
    assert build_model(config(function)).count_params() == 8 * 9 * 3 + 3


WRONG = [
    ("no_such_module:build", "there is no module 'no_such_module'"),
    ("support.no_such_module:build", "there is no module 'support.no_such_module'"),
    ("support.own_network:", "expected module:function"),
    ("support own_network:small", "expected module:function"),
    ("absent", "module 'support.own_network' has no function 'absent'"),
    ("NAMES", "module 'support.own_network' has no function 'NAMES'"),
    (
        "two_arguments",
        r"two_arguments\(.*, size: int\) can not be called with one argument; expected two_arguments\(config\)",
    ),
    ("no_argument", r"no_argument\(\) can not be called with one argument"),
    ("keyword_needed", r"keyword_needed\(.*, \*, size: int\) can not be called with one argument"),
    ("support.broken_network:build", "support.broken_network' fails: ZeroDivisionError"),
]


@pytest.mark.parametrize(("function", "message"), WRONG)
def test_a_custom_network_that_can_not_be_called_is_refused_on_the_driver(function: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_model(config(function))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("wrong", r"returns \(None, 4\); expected .* and \(None, 3\)"),
        (
            "keras_3",
            "returned a keras.src.models.sequential.Sequential, which is Keras 3: import tf_keras instead of keras",
        ),
        ("nothing", "returned a builtins.NoneType; expected a tf_keras.Model"),
        ("absent", "has no function 'absent'"),
    ],
)
def test_a_custom_network_that_does_not_fit_is_refused_in_the_worker(function: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(config(function))


def test_the_check_imports_neither_tensorflow_nor_the_module() -> None:
    code = (
        "import sys; from hybridspeech.models.custom_network import check_custom_network; "
        "check_custom_network('support.own_network:small'); check_custom_network('support.own_network:imported'); "
        "sys.exit(bool({'tensorflow', 'tf_keras', 'support.own_network', 'support'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd="tests", env=None)
