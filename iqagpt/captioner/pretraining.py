"""Pre-train the captioner with the objectives of Medical X-VL (paper 2.2, reference 13) before it is fine-tuned.

Images are those of the training patients and of patients marked ``pretrain``, in all their qualities, with their template
captions. The recipe's form is that of Medical X-VL: AdamW, linear warm-up, cosine.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import nn

from iqagpt.artifacts import ArtifactWriter
from iqagpt.batches import Draw, feeder, in_batches, shuffled, turn
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.fitting import pad
from iqagpt.captioner.focal_path import lesion_places
from iqagpt.captioner.foreign.loading import load_into, open_imported
from iqagpt.captioner.foreign.report import ACTIONS
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.objectives import OBJECTIVES, Batch, ObjectiveParams, Objectives, Weights
from iqagpt.captioner.pretrained import save_pretrained
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.checkpoints import Checkpoint, key_of, run_epochs
from iqagpt.config import given_file
from iqagpt.data.split import PRETRAIN, TRAIN
from iqagpt.device import mixed_precision
from iqagpt.errors import ArtifactError, ParamsError
from iqagpt.scored_images import ScoredImages
from iqagpt.seeding import item_rng
from iqagpt.training import (
    Optimisation,
    adamw,
    build_seeded,
    learning_rate,
    restore_optimizer,
    set_learning_rate,
)


@dataclass(frozen=True, slots=True)
class PretrainParams(Optimisation):
    """Section ``pretrain``: the captioner's geometry, and where its first weights come from.

    Attributes
    ----------
    source : {"none", "objectives", "checkpoint"}
        Random weights; weights fitted here; imported weights.
    weights : str
        The folder of `source` ``checkpoint``, as ``iqagpt weights import`` writes it; ``presets/none.txt`` for none.
    encoder : EncoderParams
    text : TextParams
    objectives : Weights
        Weight of each objective in the loss.
    settings : ObjectiveParams
    """

    source: Literal["none", "objectives", "checkpoint"]
    weights: str
    encoder: EncoderParams
    text: TextParams
    objectives: Weights
    settings: ObjectiveParams

    def __post_init__(self) -> None:
        Optimisation.__post_init__(self)
        if self.source == "objectives":
            self._check_geometry()
        self._check_focal()

    def _check_geometry(self) -> None:
        side = self.encoder.patch_size
        if self.objectives.image and (side < 8 or side & (side - 1)):
            raise ValueError(
                f"objectives.image: expected 0 with encoder.patch_size {side}, or a power of two from 8 as patch_size, "
                f"got {self.objectives.image}"
            )
        if (self.objectives.contrast or self.objectives.matching) and not self.text.text_layers:
            raise ValueError("text.text_layers: expected at least 1 with contrast or matching, got 0")

    def _check_focal(self) -> None:
        focal, lesion = self.encoder.stem == "focal", self.objectives.lesion
        if lesion and not focal:
            raise ValueError(
                f"objectives.lesion: expected 0 with encoder.stem '{self.encoder.stem}', or stem 'focal', got {lesion}"
            )
        if focal and self.source != "checkpoint" and not (self.source == "objectives" and lesion):
            raise ValueError(
                "encoder.stem: 'focal' has a path that must be taught where lesions are: expected source 'objectives' with "
                f"objectives.lesion above 0, source 'checkpoint', or stem 'conv', got source '{self.source}' with "
                f"objectives.lesion {lesion}"
            )


def make_pretrained(
    params: PretrainParams,
    images: ScoredImages,
    tokenizer: CaptionTokenizer,
    device: torch.device,
    writer: ArtifactWriter,
    checkpoint: Checkpoint | None = None,
) -> dict[str, Any]:
    """Write what fine-tuning starts from, and return figures for a metrics file.

    Parameters
    ----------
    params : PretrainParams
    images : ScoredImages
        Of all splits; ``train`` and ``pretrain`` are used, and only where ``source`` is ``objectives``.
    tokenizer : CaptionTokenizer
    device : torch.device
    writer : ArtifactWriter
        Of ``models/pretrained``.
    checkpoint : Checkpoint, optional
        See `pretrain_captioner`.

    Raises
    ------
    UserError
        If there are no images, or the checkpoint cannot be used.
    """
    result: dict[str, Any] = {"source": params.source}
    writer.info["source"] = params.source
    model, curve = None, pd.DataFrame(columns=["epoch", "lr", *OBJECTIVES])
    if params.source == "objectives":
        model, curve = pretrain_captioner(params, images, tokenizer, device, checkpoint)
        result |= {"epochs": len(curve), "losses": summarise_pretraining(curve)}
    elif params.source == "checkpoint":
        model = build_seeded(lambda: new_captioner(params, images, tokenizer), params.seed)
        file = given_file(params.weights)
        if file is None:
            raise ParamsError("pretrain.weights: source 'checkpoint' needs a folder; iqagpt weights import makes one")
        report = load_into(model, open_imported(file), tokenizer)
        if any(".focal." in name for name in report.names("missing")):
            raise ParamsError(
                f"pretrain.encoder.stem: 'focal' needs weights of its path, which {file} lacks; use stem 'conv'"
            )
        writer.table("report", report.table())
        result["tensors"] = {action: len(report.names(action)) for action in ACTIONS}
    writer.table("curve", curve)
    save_pretrained(writer, params.encoder, params.text, model)
    return result


def pretrain_captioner(
    params: PretrainParams,
    images: ScoredImages,
    tokenizer: CaptionTokenizer,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> tuple[Captioner, pd.DataFrame]:
    """Build a captioner and fit it to the objectives.

    Parameters
    ----------
    params : PretrainParams
    images : ScoredImages
        Of all splits; those of ``train`` and ``pretrain`` are used.
    tokenizer : CaptionTokenizer
    device : torch.device
    checkpoint : Checkpoint, optional
        Continued from, where it fits, and written between epochs. The caller removes it once the result is stored.

    Returns
    -------
    Captioner
        On the CPU.
    DataFrame
        One row per epoch: ``epoch, lr`` and the mean loss, without its weight, of each objective; missing where its weight
        is 0.

    Raises
    ------
    ArtifactError
        If there are no images.
    """
    images = ScoredImages(
        images.table[images.table["split"].isin((TRAIN, PRETRAIN))].reset_index(drop=True), images.variants
    )
    if not len(images):
        raise ArtifactError("no image is in split 'train' or 'pretrain': give split.test_patients fewer patients")
    model = build_seeded(
        lambda: Objectives(new_captioner(params, images, tokenizer), params.objectives, params.settings, tokenizer),
        params.seed,
    )
    checkpoint = checkpoint or Checkpoint(None)
    lesions = _lesions(images) if params.objectives.lesion else None
    state = None
    if checkpoint.enabled:
        tensors = model.state_dict() | ({} if lesions is None else {"lesions": lesions})
        state = checkpoint.open(key_of("pretrain", repr(params), images.fingerprint(), tensors=tensors))
    fitting = _Fitting(model, images, tokenizer, params, device, lesions)
    run_epochs(fitting, params.epochs, "pre-training", device, checkpoint, state)
    return model.student.cpu().eval(), pd.DataFrame(fitting.curve, columns=["epoch", "lr", *OBJECTIVES])


def new_captioner(params: PretrainParams, images: ScoredImages, tokenizer: CaptionTokenizer) -> Captioner:
    """Build a captioner of the section's geometry with random weights."""
    return Captioner(params.encoder, params.text, image_size=images.image_size, vocabulary_size=tokenizer.size)


def summarise_pretraining(curve: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return the first and the last epoch's loss of each objective that was used, for a metrics file."""
    names = [name for name in OBJECTIVES if curve[name].notna().any()]
    return {name: {"first": float(curve[name].iloc[0]), "last": float(curve[name].iloc[-1])} for name in names}


class _Fitting:
    """Pre-training under way, a `checkpoints.Resumable`; `curve` holds one row an epoch."""

    def __init__(
        self,
        model: Objectives,
        images: ScoredImages,
        tokenizer: CaptionTokenizer,
        params: PretrainParams,
        device: torch.device,
        lesions: torch.Tensor | None,
    ) -> None:
        self.model, self.params, self.device = model.to(device), params, device
        self.optimizer = adamw(model, params, device)
        self.epoch, self.curve = 0, []
        self.count = len(images)
        self.load = feeder(images, device)
        captions = images.table["caption"]
        self.ids = pad(tokenizer.encode(captions.tolist()), tokenizer.pad_id).to(device)
        # Numbers that are equal where captions are.
        self.keys = torch.from_numpy(pd.factorize(captions)[0].astype(np.int64)).to(device)
        self.lesions = None if lesions is None else lesions.to(device)

    def run_epoch(self) -> dict[str, float]:
        """Fit for one epoch; return its row: the mean loss of each active objective."""
        if not self.epoch:
            torch.manual_seed(self.params.seed)  # dropout, word masks and negatives draw from the global generator
        self.model.train()
        rng = item_rng(self.params.seed, "pretrain", str(self.epoch))
        draw = shuffled(self.count, self.params.seed, self.epoch, augment=True)
        places = in_batches(self.count, self.params.batch_size)
        totals: dict[str, torch.Tensor] = {}
        loaded = self.load(draw[where] for where in places)
        for step, (where, pixels) in enumerate(zip(places, loaded, strict=True)):
            chosen = torch.as_tensor(draw.indices[where], device=self.device)
            turns, flips = (torch.as_tensor(rng.integers(n, size=len(where)), device=self.device) for n in (4, 2))
            batch = Batch(
                pixels, turn(pixels, turns, flips), self.ids[chosen], self.keys[chosen], self._lesions_of(draw[where])
            )
            losses = self._step(batch, self.epoch + step / len(places), rng)
            for name, loss in losses.items():
                # Read once an epoch, as in `training`.
                totals[name] = totals.get(name, 0.0) + loss.detach().double() * len(where)
        self.epoch += 1
        losses = {name: total.item() / self.count for name, total in totals.items()}
        self.curve.append({"epoch": self.epoch, "lr": float(self.optimizer.param_groups[0]["lr"]), **losses})
        return self.curve[-1]

    def _lesions_of(self, draw: Draw) -> torch.Tensor | None:
        if self.lesions is None:
            return None
        indices, turns, flips = (torch.as_tensor(a, device=self.device) for a in (draw.indices, draw.turns, draw.flips))
        return turn(self.lesions[indices][:, None], turns, flips)[:, 0]

    def _step(self, batch: Batch, epoch: float, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        set_learning_rate(self.optimizer, learning_rate(self.params, epoch))
        with mixed_precision(self.device):
            losses = self.model(batch, trust=min(epoch, 1.0), rng=rng)
        self.optimizer.zero_grad(set_to_none=True)
        self.model.total(losses).backward()
        if self.params.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip_norm)
        self.optimizer.step()
        return losses

    def state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "curve": self.curve,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": [generator.get_state() for generator in self._generators()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.curve = state["epoch"], state["curve"]
        self.model.load_state_dict(state["model"])
        restore_optimizer(self.optimizer, state["optimizer"])
        # Those of a CPU and of a GPU, or of the CPU alone where it goes on without a GPU.
        for generator, random in zip(self._generators(), state["random"], strict=False):
            generator.set_state(random)

    def _generators(self) -> list[torch.Generator]:
        own = [torch.default_generator]
        return [*own, torch.cuda.default_generators[self.device.index or 0]] if self.device.type == "cuda" else own


def _lesions(images: ScoredImages) -> torch.Tensor:
    file = images.variants.path / "lesion_mask.npy"
    if not file.is_file():
        raise ArtifactError(
            f"{file}: missing, and pretrain.objectives.lesion learns from it: set that to 0 and pretrain.encoder.stem to conv"
        )
    return lesion_places(images.variants.array("lesion_mask"))[torch.tensor(images.table["row"].to_numpy())]
