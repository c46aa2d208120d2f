"""From a run folder to a model folder: averaged weights, measured on drives never seen, with a card."""

from __future__ import annotations

import json
import math
import platform
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor

from sana_wm_ros.training.run_folder import BadRun, RunFolder
from sana_wm_ros.training.world_model_trainer import WorldModelTraining
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.transformer import SanaTransformer

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


def start_of(out: Path, init: Path | None, training: WorldModelTraining) -> Start:
    """Where a run in ``out`` begins: where it was, or from ``init``.

    init: the run folder of an autoencoder, the run folder of a world model (its averaged weights), or a model
    folder; the last two also decide the sizes. Raises ``BadRun`` when there is neither.
    """
    config = RunFolder(path=out).config() if (out / "config.yaml").exists() else None
    if config is not None:
        kept = kept_autoencoder(out)
        if kept is None:
            raise BadRun(f"{out} lacks {AUTOENCODER_FILE}; choose another --out")
        return Start(training=_sized(training, config), autoencoder=kept, weights=None)
    if init is None:
        raise BadRun("a new world model needs --init: an autoencoder's run folder, or a model folder")
    if (init / "model.safetensors").exists():
        from sana_wm_ros.world_model.checkpoint import load_model

        model = load_model(init)
        sized = replace(training, model=model.transformer.config, heads=model.heads.config)
        parts = {"transformer": model.transformer, "heads": model.heads}
        weights = {f"{k}.{n}": v.float() for k, part in parts.items() for n, v in part.state_dict().items()}
        # training's own logits of contact lie higher by log w, see model_of_run
        bias = weights["heads.out.bias"].clone()
        bias[0] += math.log(training.objective.contact_weight)
        weights["heads.out.bias"] = bias
        return Start(training=sized, autoencoder=model.autoencoder, weights=weights)
    if kept_autoencoder(init) is not None:
        config, state = stored_run(init, "world-model")
        kept = kept_autoencoder(init)
        assert kept is not None
        return Start(
            training=_sized(training, config), autoencoder=kept, weights=dict(state["average"]["values"])
        )
    return Start(training=training, autoencoder=autoencoder_of_run(init), weights=None)


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


def _rows(title: str, columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    """A Markdown table with an empty line after it."""
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return [*lines, *(f"| {name} | " + " | ".join(values) + " |" for name, values in rows.items()), ""]


def _tables(result: dict[str, Any]) -> str:
    """Pictures, ranges and contact as Markdown."""
    horizons = [f"{s:g} s" for s in result["horizons_s"]]
    pictures = {name: [f"{v:.1f}" for v in values] for name, values in result["psnr_db"].items()}
    ranges = {name: [f"{v:.2f}" for v in values] for name, values in result["clearance_log_error"].items()}
    lines = _rows("PSNR in dB, seconds ahead", horizons, pictures)
    lines += _rows("mean absolute log error of ranges", horizons, ranges)
    contact = result["contact"]
    if contact.get("starts"):
        rows = {name: [f"{v:.2f}" for v in values] for name, values in contact["auroc"].items()}
        counts = zip(contact["contacts"], contact["known"], strict=True)
        rows["contacts / starts"] = [f"{came} / {known}" for came, known in counts]
        within = [f"within {s:g} s" for s in contact["horizons_s"]]
        lines += _rows("AUROC of contact, open-loop drives", within, rows)
        lines.append(
            f"Contact probability per imagined frame: mean {contact['mean_probability']:.3f}, true share "
            f"{contact['frames_in_contact']:.3f}, "
            f"expected calibration error {contact['calibration_error']:.3f}."
        )
    return "\n".join(lines).strip()


_CARD = """# {name}

A young navigation world model for a small indoor robot with one camera: a hybrid linear transformer of
{transformer:.1f} M parameters (SANA-WM's blocks: Gated DeltaNet and windowed softmax attention with the
UCPE camera branch), heads of {heads:.2f} M and a causal video autoencoder of {autoencoder:.1f} M. Pictures
64x96 at 8 Hz, latents 32 x 4 x 6 at 2 Hz. Licence: Apache-2.0, weights included.

## Training

{data}

World model: {steps} steps, {latent_frames} latent frames, {hours:.2f} h on one thread of {hardware}, seed
{seed}, {skipped_steps} steps skipped. Blind one-step regression for most clips, diffusion forcing for the
rest.

```
{commands}
```

## How far it can be trusted

Measured on {drives} simulated drives through buildings never trained on (other seeds, same kind of world),
after {seen:g} s seen, along the true commands, with one denoising step. "Standing still" compares a held
pose with the last view; "nearest view" is the seen picture whose true pose is nearest. Any blur scores well
far ahead: compare the model with the best baseline, not with the last frame.

{tables}

Contact is measured on drives that never react to what happens, because a driver that backs off tells the
model. "Ranges at the start" knows the true ranges when imagination begins and checks the commanded path
against them.

![film strips](film_strip.png)

## Limits

* One kind of simulated building with flat colours. It has never seen a real camera's picture: on real
  recordings expect its imagination to be wrong, and plan with the validator and a range sensor in charge.
* What was never seen can't be foretold in detail; beyond a few seconds it imagines colours and layout, not
  objects.
* Trained on clips of up to 58 s; a context and a future that together are longer lie outside of what it has
  seen.
* Contact was weighed up in training and taken back at export, on data rich in contact: on calmer drives its
  probabilities are too high.
* Young: trained for about an hour on a shared CPU core. One seed.
"""


def model_card(
    name: str, result: dict[str, Any], facts: dict[str, Any], data: str, commands: list[str]
) -> str:
    """MODEL_CARD.md: what it is, what it was trained on, how far to trust it, and how that was measured."""
    millions = {part: count / 1e6 for part, count in facts["parameters"].items()}
    card = _CARD.format(
        name=name,
        data=data,
        hours=facts["minutes"] / 60,
        commands="\n".join(commands),
        drives=result["drives"],
        seen=result["seen_s"],
        tables=_tables(result),
        **millions,
        **{key: facts[key] for key in ("steps", "latent_frames", "hardware", "seed", "skipped_steps")},
    )
    return "\n\n".join(_filled(paragraph) for paragraph in card.split("\n\n"))


def _filled(paragraph: str) -> str:
    """Prose wrapped anew after its numbers came in; tables, lists, titles and commands as they are."""
    if paragraph.startswith(("|", "#", "`", "*", "!")):
        return paragraph
    return textwrap.fill(paragraph, 100, break_long_words=False, break_on_hyphens=False)


def export(
    run: Path,
    folder: Path,
    *,
    validation: list[Path],
    contact: list[Path] | None = None,
    data: str,
    commands: list[str],
    drives: int = 24,
    seen: int = 41,
) -> dict[str, Any]:
    """Validate a run's averaged model and write it to ``folder`` with card, numbers and film strips."""
    from sana_wm_ros.training.validation import draw_film_strips, validate
    from sana_wm_ros.world_model.checkpoint import save_model

    model, facts = model_of_run(run)
    facts["hardware"] = processor()
    parts = {"transformer": model.transformer, "heads": model.heads, "autoencoder": model.autoencoder}
    facts["parameters"] = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    result, films = validate(
        model, validation, contact=contact, drives=drives, seen=seen, contact_drives=2 * drives
    )
    card = model_card(folder.name, result, facts, data, commands)
    save_model(folder, model, card, dtype=torch.float16)
    (folder / "validation.json").write_text(json.dumps(result | {"training": facts}, indent=1) + "\n")
    draw_film_strips(films, folder / "film_strip.png")
    return result


def processor() -> str:
    """The processor's own name where the system tells it."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
