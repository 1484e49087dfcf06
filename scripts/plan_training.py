"""Resolve every hyperparameter of one training against the data it will see."""

import json
from pathlib import Path
from typing import Any

from traces import job
from traces.artifacts.arrays import read_differences
from traces.config.schema import Training
from traces.corpora import mixtures
from traces.costs.fitting import Grounds, way_on
from traces.training.plan import plan_training


def main(
    mixture: Path,
    grounds: Grounds,
    differences: Path | list[Path],
    plan: Path,
    settings: dict[str, Any],
    seed: int,
) -> None:
    if settings["method"] != "full" and not isinstance(settings["targets"], str):
        # Lazy: most studies target all linear modules, and torch takes seconds to import.
        from traces.models.weights import check_targets

        check_targets(grounds.model, settings["targets"])
    config = json.loads((grounds.model / "config.json").read_text())
    # A model that also sees images keeps its language model's configuration in a part of its own.
    positions = config.get("text_config", config).get("max_position_embeddings")
    way = way_on(grounds, Training.model_validate(settings))
    asked = {**settings, **way._asdict()}
    asked |= {"attention": grounds.attention, "seed": seed, "world_size": grounds.world_size}
    projected = read_differences(differences) if isinstance(differences, Path) else None
    resolved = plan_training(asked, mixtures.read_mixture(mixture), positions, projected)
    job.write_text(plan, resolved.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    job.run(main, snakemake)
