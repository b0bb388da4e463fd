"""The record of the weights that a fine-tuning starts from, and whether they fit. Knows nothing of files and TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hybridspeech.config import FeatureConfig
from hybridspeech.errors import ConfigError, counted
from hybridspeech.models.config import ModelConfig
from hybridspeech.models.custom_network import is_custom

_MODEL_FIELDS = ("name", "width", "standardize", "causal")
"""Fields of ModelConfig that decide the shapes or the meaning of the weights; the dropout rate may differ."""


@dataclass(frozen=True, kw_only=True)
class InitialWeights:
    """Weights of a finished run that another training starts from.

    Parameters
    ----------
    run : location of the finished run
    digest, labels, features, model : of that run
    checksum : of the file of its weights; each rank compares it with its copy
    """

    run: str
    digest: str
    labels: tuple[str, ...]
    features: FeatureConfig
    model: ModelConfig
    checksum: str

    def features_for(self, stored: FeatureConfig, given: FeatureConfig | None) -> FeatureConfig | None:
        """Return the features to request: those given, else those of the run if they can be computed from the stored clips."""
        if stored.kind == "waveform" and given in (None, FeatureConfig(kind=self.features.kind)):
            return self.features
        return given

    def model_for(self, given: ModelConfig | None) -> ModelConfig:
        """Return the network to request: the fields given, and those of the run.

        Raises
        ------
        ConfigError: the run has a custom network, which is code, and no network is given.
        """
        given = given or ModelConfig()
        if not given.name and is_custom(self.model.name):
            raise ConfigError(
                f"{self.run}: was trained with the custom network {self.model.name!r}, which is code; name it again to "
                f"import it: --model {self.model.name}"
            )
        missing = {name: getattr(self.model, name) for name in _MODEL_FIELDS if getattr(given, name) is None}
        return replace(given, **missing)

    def keeps_head(self, labels: tuple[str, ...]) -> bool:
        """Whether the output layer is kept: if the labels are the same, in the same order."""
        return labels == self.labels

    def describe(self, labels: tuple[str, ...]) -> str:
        """Return a sentence for the user on what is taken over for a training with these labels."""
        if self.keeps_head(labels):
            return f"starts from all weights of {self.run}: it has the same {counted(len(labels), 'label')}"
        return (
            f"starts from the weights of {self.run}, with a new output layer: it has other labels "
            f"({counted(len(self.labels), 'label')}, {len(set(labels) & set(self.labels))} in common)"
        )


def check_fits(start: InitialWeights, features: FeatureConfig, model: ModelConfig) -> None:
    """Check that a training has the network and the features of its initial weights.

    Raises
    ------
    ConfigError: it does not; names all differences.
    """
    differences = []
    name = replace(start.model, name=model.name) if is_custom(model.name) else start.model
    for theirs, ours, fields in (
        (name, model, _MODEL_FIELDS),
        (start.features, features, [field for field in vars(features) if field != "kernel"]),
    ):
        differences += [
            f"{field} {getattr(ours, field)} instead of {getattr(theirs, field)}"
            for field in fields
            if getattr(ours, field) != getattr(theirs, field)
        ]
    if differences:
        raise ConfigError(
            f"{start.run}: its weights need its own network and features, and this training has {', '.join(differences)}; "
            "train with the same, or start without --init-from"
        )
