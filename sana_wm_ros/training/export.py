"""From a run folder to a model folder: averaged weights, measured on drives never seen, with a card."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor

from sana_wm_ros.training.candidate_validation import Oracle
from sana_wm_ros.training.card import model_card
from sana_wm_ros.training.run_folder import BadRun, RunFolder
from sana_wm_ros.training.world_model_trainer import WorldModelTraining
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.transformer import SanaTransformer
from sana_wm_ros.world_model.weight_files import is_there

if TYPE_CHECKING:
    from sana_wm_ros.world_model.model import NavigationModel

AUTOENCODER_FILE = "autoencoder.pt"


def stored_run(path: Path, stage: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and newest state of a run of this stage; ``BadRun`` says what is missing."""
    config_file = path / "config.yaml"
    if not config_file.exists():
        raise BadRun(f"{path} is not a run folder (no config.yaml); give the --out of a training")
    config = yaml.safe_load(config_file.read_text())
    if config.get("stage") != stage:
        raise BadRun(f"{path} is a run of stage {config.get('stage')}, expected {stage}")
    state = RunFolder(path=path).load()
    if state is None:
        raise BadRun(f"{path} has saved nothing yet; let the training run for a few minutes")
    return config, state


def autoencoder_of_run(path: Path) -> Autoencoder:
    """The averaged autoencoder of a run of stage autoencoder."""
    config, state = stored_run(path, "autoencoder")
    model = Autoencoder(AutoencoderConfig(**config["model"]))
    model.load_state_dict(state["average"]["values"])
    return model.eval().requires_grad_(False)


def keep_autoencoder(autoencoder: Autoencoder, run: Path) -> None:
    """Put the autoencoder that a world model is trained for into its run folder."""
    run.mkdir(parents=True, exist_ok=True)
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(autoencoder.config).items()}
    torch.save({"config": config, "weights": autoencoder.state_dict()}, run / AUTOENCODER_FILE)


def kept_autoencoder(run: Path) -> Autoencoder | None:
    """The autoencoder in a world model's run folder, or None in a new run."""
    file = run / AUTOENCODER_FILE
    if not file.exists():
        return None
    stored = torch.load(file, map_location="cpu", weights_only=True)
    model = Autoencoder(AutoencoderConfig(**stored["config"]))
    model.load_state_dict(stored["weights"])
    return model.eval().requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a world model's training begins with; ``weights`` None: with random ones."""

    training: WorldModelTraining
    autoencoder: Autoencoder
    weights: dict[str, Tensor] | None


def start_of(
    out: Path,
    init: Path | None,
    training: WorldModelTraining,
    heads: dict[str, int] | None = None,
    *,
    fresh: bool = False,
) -> Start:
    """Where a run in ``out`` begins: where it was, or from ``init``.

    init: the run folder of an autoencoder, the run folder of a world model (its averaged weights), or a model
    folder; the last two also decide the sizes, but for heads that ``heads`` makes larger. fresh: of them, only
    the autoencoder and the sizes are taken. Raises ``BadRun`` when there is neither.
    """
    config = RunFolder(path=out).config() if (out / "config.yaml").exists() else None
    if config is not None:
        kept = kept_autoencoder(out)
        if kept is None:
            raise BadRun(f"{out} lacks {AUTOENCODER_FILE}; choose another --out")
        return Start(training=_sized(training, config), autoencoder=kept, weights=None)
    if init is None:
        raise BadRun("a new world model needs --init: an autoencoder's run folder, or a model folder")
    if is_there(init):
        from sana_wm_ros.world_model.checkpoint import load_model

        model = load_model(init)
        sized = replace(training, model=model.transformer.config, heads=model.heads.config)
        weights = weights_of(model, contact_weight=training.objective.contact_weight)
        begun = Start(training=sized, autoencoder=model.autoencoder, weights=None if fresh else weights)
        return _with_heads(begun, heads)
    if kept_autoencoder(init) is not None:
        config, state = stored_run(init, "world-model")
        kept = kept_autoencoder(init)
        assert kept is not None
        weights = dict(state["average"]["values"])
        begun = Start(training=_sized(training, config), autoencoder=kept, weights=None if fresh else weights)
        return _with_heads(begun, heads)
    return Start(training=training, autoencoder=autoencoder_of_run(init), weights=None)


def _with_heads(start: Start, sizes: dict[str, int] | None) -> Start:
    """The same with larger heads, which say at first what the smaller ones said."""
    training, prefix = start.training, "heads."
    if not sizes:
        return start
    if start.weights is None:
        return replace(start, training=replace(training, heads=replace(training.heads, **sizes)))
    small = Heads(training.heads, training.model.width, training.model.tokens)
    small.load_state_dict(
        {n.removeprefix(prefix): v for n, v in start.weights.items() if n.startswith(prefix)}
    )
    large = small.widened(replace(training.heads, **sizes))
    weights = {n: v for n, v in start.weights.items() if not n.startswith(prefix)}
    weights |= {prefix + name: value for name, value in large.state_dict().items()}
    return replace(start, training=replace(training, heads=large.config), weights=weights)


def weights_of(model: NavigationModel, *, contact_weight: float) -> dict[str, Tensor]:
    """A model's weights as a training of that weight left them: its logits of contact lay higher by log w."""
    parts = {"transformer": model.transformer, "heads": model.heads}
    weights = {f"{k}.{n}": v.float() for k, part in parts.items() for n, v in part.state_dict().items()}
    bias = weights["heads.out.bias"].clone()
    bias[0] += math.log(contact_weight)
    return weights | {"heads.out.bias": bias}


def _sized(training: WorldModelTraining, config: dict[str, Any]) -> WorldModelTraining:
    """The training with the sizes of a stored run."""
    sizes = {"model": TransformerConfig(**config["model"]), "heads": HeadsConfig(**config["heads"])}
    return replace(training, **sizes)


def model_of_run(path: Path) -> tuple[NavigationModel, dict[str, Any]]:
    """The averaged world model of a run and facts about its training (steps, frames, minutes, ...)."""
    from sana_wm_ros.world_model.model import NavigationModel

    config, state = stored_run(path, "world-model")
    autoencoder = kept_autoencoder(path)
    if autoencoder is None:
        raise BadRun(f"{path} lacks {AUTOENCODER_FILE}; it was not made by `sana_wm train`")
    transformer = SanaTransformer(TransformerConfig(**config["model"]))
    heads = Heads(HeadsConfig(**config["heads"]), transformer.config.width, transformer.config.tokens)
    torch.nn.ModuleDict({"transformer": transformer, "heads": heads}).load_state_dict(
        state["average"]["values"]
    )
    with torch.no_grad():  # a weight w on positives moves the logit up by log w; probabilities want it back
        heads.out.bias[0] -= math.log(config["objective"]["contact_weight"])
    model = NavigationModel(transformer, heads, autoencoder).requires_grad_(False)
    facts = {
        "steps": state["step"],
        "latent_frames": state["frames"],
        "minutes": round(state["elapsed_s"] / 60, 1),
    }
    return model, facts | {"skipped_steps": state["skipped"], "seed": config["seed"]}


def export(
    run: Path,
    folder: Path,
    *,
    validation: list[Path],
    contact: list[Path] | None = None,
    data: str,
    commands: list[str],
    drives: int = 24,
    seen: int | None = None,
    ahead_s: float | None = None,
    beside: dict[str, Path] | None = None,
    oracle: Oracle | None = None,
) -> dict[str, Any]:
    """Validate a run's averaged model and write it to ``folder`` with card, numbers and film strips.

    oracle: the true world model of a drive's building, to rank candidates against. beside: result files of
    ``sana_wm benchmark model`` that the card's goals get a column for, by title.
    """
    from sana_wm_ros.training.validation import draw_film_strips, validate
    from sana_wm_ros.world_model.checkpoint import save_model

    others = {title: json.loads(path.read_text())["results"] for title, path in (beside or {}).items()}
    model, facts = model_of_run(run)
    facts |= _sizes(model) | {"hardware": processor()}
    given = {name: value for name, value in (("seen", seen), ("ahead_s", ahead_s)) if value is not None}
    result, films = validate(
        model, validation, contact=contact, drives=drives, contact_drives=2 * drives, oracle=oracle, **given
    )
    facts["seeds"] = result["seeds"]
    card = model_card(folder.name, result, facts, data=data, commands=commands, beside=others)
    save_model(folder, model, card, dtype=torch.float16)
    (folder / "validation.json").write_text(json.dumps(result | {"training": facts}, indent=1) + "\n")
    draw_film_strips(films, folder / "film_strip.png")
    return result


def _sizes(model: NavigationModel) -> dict[str, Any]:
    """What the card says about the model's size."""
    parts = {"transformer": model.transformer, "heads": model.heads, "autoencoder": model.autoencoder}
    channels, rows, columns = model.spec.latent_shape
    return {
        "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
        "keyframes": model.transformer.config.keyframes,
        "height": model.spec.image_height,
        "width": model.spec.image_width,
        "channels": channels,
        "rows": rows,
        "columns": columns,
    }


def processor() -> str:
    """The processor's own name where the system tells it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
