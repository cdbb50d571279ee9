"""Fine-tuning in images a second: this pipeline's loop beside transformers' ``VisionEncoderDecoderModel`` and ``Trainer``.

Command: ``python benchmarks/finetuning.py`` (small geometry), or with ``--preset paper`` on a GPU. The second side needs
``pip install -c constraints.txt -e '.[benchmarks]'``. Both sides have the same layers, batch, images, augmentation, AdamW and
precision (bfloat16 on a GPU), and take turns in one process. Only the stem differs from the small default: linear, as
``ViTModel`` has no other. On a GPU printed too are the memory of each side, its share of the peak dense bf16 rate, measured there
by a large matrix product, and the time for the paper's 50 epochs of 800 images; ``--compiled`` lets this side take part once more
with ``IQAGPT_COMPILE=1``.
"""

import argparse
import dataclasses
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertLMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.bert.modeling_bert import BertLayer
from transformers.utils.logging import set_verbosity_error

from iqagpt.artifacts import create_artifact
from iqagpt.captioner.captioner import Captioner
from iqagpt.captioner.captions import caption_scores
from iqagpt.captioner.fitting import IGNORE, TrainParams, caption_loss, pad
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.captioner.pretraining import PretrainParams
from iqagpt.captioner.tokenizer import CaptionParams, CaptionTokenizer, build_tokenizer
from iqagpt.config import load_section
from iqagpt.criteria import KEYS
from iqagpt.device import COMPILE_VARIABLE, mixed_precision, pick_device
from iqagpt.scored_images import ScoredImages, open_scored_images
from iqagpt.training import Fitting

SIDE, PAPER_IMAGES, PAPER_VOCABULARY = 512, 50 * 800, 30522
PRESETS = {"small": Path("params.yaml"), "paper": Path("presets/paper.yaml")}


def make_images(folder: Path, count: int) -> ScoredImages:
    """Write `count` images of noise with random scores and their captions, and open them as the pipeline does."""
    rng = np.random.default_rng(0)
    rows = [
        {"image_id": f"P_{i}_ndct", "slice_id": f"P_{i}", "patient_id": "P", "variant": "ndct"} for i in range(count)
    ]
    with create_artifact(folder / "variants", "variants") as writer:
        writer.array("ndct", (count, SIDE, SIDE), np.int16)[:] = rng.integers(-200, 300, (count, SIDE, SIDE), np.int16)
        writer.manifest(pd.DataFrame([{**row, "row": i, "pixel_spacing_mm": 0.7} for i, row in enumerate(rows)]))
        writer.info.update(window_hu=[-160.0, 240.0], variants=["ndct"])
    marks = {"score_source": "simulated", "consensus": 1}
    scores = [{**row, **marks, **dict.fromkeys(KEYS, int(rng.integers(1, 5)))} for row in rows]
    with create_artifact(folder / "captions", "captions") as writer:
        writer.manifest(caption_scores(pd.DataFrame(scores)))
        build_tokenizer(CaptionParams("presets/none.txt")).save(writer.path)
    with create_artifact(folder / "split", "split") as writer:
        writer.manifest(pd.DataFrame([{"slice_id": row["slice_id"], "split": "train"} for row in rows]))
    return open_scored_images(folder / "variants", folder / "split", folder / "captions")


def vocabulary_size(geometry: Pretrained, tokenizer: CaptionTokenizer) -> int:
    """Return the tokenizer's size, or BERT's at BERT's width, as in the paper; the captions use few words of it."""
    return PAPER_VOCABULARY if geometry.text.width == 768 else tokenizer.size


class OurSide:
    """The loop of stage ``train``; one epoch is a round."""

    def __init__(
        self,
        params: TrainParams,
        geometry: Pretrained,
        images: ScoredImages,
        tokenizer: CaptionTokenizer,
        device: torch.device,
    ) -> None:
        self.model = Captioner(
            geometry.encoder, geometry.text, image_size=SIDE, vocabulary_size=vocabulary_size(geometry, tokenizer)
        )
        self.count = len(images)
        self.fitting = Fitting(
            self.model,
            lambda subset, where: caption_loss(subset, tokenizer, where),
            train=images,
            val=images.subset("none"),
            recipe=params,
            device=device,
        )

    def round(self) -> float:
        """Return images a second over one epoch; reading the losses at its end waits for the GPU."""
        begin = time.perf_counter()
        self.fitting.run_epoch()
        return self.count / (time.perf_counter() - begin)


def compiled_side(*given) -> OurSide:
    """Build the side that `compiled` compiles, whatever the environment says."""
    os.environ[COMPILE_VARIABLE] = "1"
    try:
        return OurSide(*given)
    finally:
        del os.environ[COMPILE_VARIABLE]


class PlainBertLayer(BertLayer):
    """A layer that does not look at the image, as the captioner's first layers."""

    def forward(self, hidden_states, attention_mask=None, encoder_hidden_states=None, *others, **options):
        """Leave out the cross-attention."""
        return super().forward(hidden_states, attention_mask, None, **{**options, "encoder_attention_mask": None})


class Captions(Dataset):
    """Images and captions as ``Trainer`` wants them, augmented as ours."""

    def __init__(self, images: ScoredImages, tokenizer: CaptionTokenizer, rounds: int) -> None:
        self.images, self.rounds = images, rounds
        self.ids = pad(tokenizer.encode(images.table["caption"].tolist()), tokenizer.pad_id)
        self.pad_id = tokenizer.pad_id

    def __len__(self) -> int:
        return len(self.images) * self.rounds

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        index %= len(self.images)
        turns, flip = torch.randint(4, (1,)).item(), torch.randint(2, (1,)).item()
        image = torch.rot90(torch.from_numpy(self.images.batch(np.array([index]))[0]), turns, (-2, -1))
        labels = self.ids[index, 1:]
        return {
            "pixel_values": image.flip(-1) if flip else image,
            "decoder_input_ids": self.ids[index, :-1],
            "labels": labels.masked_fill(labels == self.pad_id, IGNORE),
        }


def reference_model(geometry: Pretrained, words: int) -> VisionEncoderDecoderModel:
    """Build the same layers of transformers' parts."""
    e, t = geometry.encoder, geometry.text
    vit = ViTConfig(
        hidden_size=e.width, num_hidden_layers=e.depth, num_attention_heads=e.heads, intermediate_size=4 * e.width,
        image_size=SIDE, patch_size=e.patch_size, num_channels=1,
    )  # fmt: skip
    bert = BertConfig(
        vocab_size=words, hidden_size=t.width, num_hidden_layers=t.text_layers + t.fusion_layers,
        num_attention_heads=t.heads, intermediate_size=t.intermediate, hidden_dropout_prob=t.dropout,
        attention_probs_dropout_prob=t.dropout, is_decoder=True, add_cross_attention=True, use_cache=False,
    )  # fmt: skip
    bert.cross_attention_hidden_size = e.width  # no projection of image tokens between the two
    decoder = BertLMHeadModel(bert)
    layers = decoder.bert.encoder.layer
    for number, layer in enumerate(layers):
        if number < t.text_layers:
            layers[number] = PlainBertLayer(bert, layer_idx=number)
            del layers[number].crossattention
        else:
            layer.crossattention.self.key = nn.Linear(e.width, t.width)
            layer.crossattention.self.value = nn.Linear(e.width, t.width)
    model = VisionEncoderDecoderModel(encoder=ViTModel(vit, add_pooling_layer=False), decoder=decoder)
    model.config.decoder_start_token_id, model.config.pad_token_id = 1, 0
    return model


class Stopwatch(TrainerCallback):
    """Times the steps after the first few."""

    def __init__(self, warm_up: int, steps: int) -> None:
        self.marks, self.times = (warm_up, steps), []

    def on_step_end(self, args, state, control, **others) -> None:
        """Note the time after the warm-up and at the end."""
        if state.global_step in self.marks:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())


class TrainerSide:
    """``Trainer`` with the options that its documentation advises for speed; one short training is a round."""

    def __init__(
        self,
        params: TrainParams,
        geometry: Pretrained,
        images: ScoredImages,
        tokenizer: CaptionTokenizer,
        device: torch.device,
    ) -> None:
        self.model = reference_model(geometry, vocabulary_size(geometry, tokenizer))
        self.params, self.images, self.tokenizer, self.device = params, images, tokenizer, device

    def round(self) -> float:
        """Return images a second after the warm-up."""
        gpu = self.device.type == "cuda"
        warm_up = max(2, len(self.images) // self.params.batch_size // 4)
        steps = warm_up + len(self.images) // self.params.batch_size
        watch = Stopwatch(warm_up, steps)
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder, per_device_train_batch_size=self.params.batch_size, max_steps=steps, bf16=gpu, use_cpu=not gpu,
                optim="adamw_torch_fused", learning_rate=self.params.lr, weight_decay=self.params.weight_decay,
                lr_scheduler_type="cosine", warmup_steps=2, max_grad_norm=self.params.clip_norm, save_strategy="no",
                logging_strategy="no", report_to="none", disable_tqdm=True, dataloader_num_workers=8 if gpu else 0,
                dataloader_pin_memory=gpu,
            )  # fmt: skip
            data = Captions(self.images, self.tokenizer, rounds=3)
            trainer = Trainer(self.model, arguments, train_dataset=data, callbacks=[watch])
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return (steps - warm_up) * self.params.batch_size / (watch.times[1] - watch.times[0])


def flops_per_image(
    geometry: Pretrained, images: ScoredImages, tokenizer: CaptionTokenizer, device: torch.device
) -> float:
    """Count the operations of matrix products, convolutions and attention, forwards and backwards."""
    model = Captioner(
        geometry.encoder, geometry.text, image_size=SIDE, vocabulary_size=vocabulary_size(geometry, tokenizer)
    ).to(device)
    loss = caption_loss(images, tokenizer, device)
    batch = torch.from_numpy(images.batch(np.arange(2))).to(device)
    with FlopCounterMode(display=False) as counter:
        with mixed_precision(device):
            value = loss(model, batch, np.arange(2))
        value.backward()
    return counter.get_total_flops() / 2


def peak_flops(device: torch.device, size: int = 8192) -> float:
    """Measure the rate of a dense bf16 matrix product, the best of several."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(10):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(10):
            a @ b
        torch.cuda.synchronize()
        rates.append(10 * 2 * size**3 / (time.perf_counter() - begin))
    return max(rates)


def compare(sides: dict[str, Callable[[], "OurSide | TrainerSide"]], rounds: int) -> dict[str, float]:
    """Build each side and warm it up, let them take turns, and return the median of each."""
    built, gpu = {}, torch.cuda.is_available()
    for name, build in sides.items():
        if gpu:
            torch.cuda.reset_peak_memory_stats()
        before, begin = torch.cuda.memory_allocated() if gpu else 0, time.perf_counter()
        built[name] = build()
        built[name].round()
        size = f"{sum(p.numel() for p in built[name].model.parameters()):,} parameters"
        memory = f", {(torch.cuda.max_memory_allocated() - before) / 2**30:.1f} GiB" if gpu else ""
        print(f"{name}: {size}{memory}, built and warm after {time.perf_counter() - begin:.0f} s", flush=True)
    found = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in built.items():
            found[name].append(side.round())
    for name, rates in found.items():
        print(f"{name:16} {statistics.median(rates):8.2f} images/s   (rounds: {', '.join(f'{r:.2f}' for r in rates)})")
    return {name: statistics.median(rates) for name, rates in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=list(PRESETS), default="small")
    parser.add_argument("--batch-size", type=int, help="images a step; that of the preset by default")
    parser.add_argument("--steps", type=int, default=12, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compiled", action="store_true", help="on a GPU, this side compiled as well")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    set_verbosity_error()
    device = pick_device()
    if options.compiled and device.type != "cuda":
        parser.error("--compiled needs a CUDA GPU: elsewhere nothing is compiled")
    params = load_section(PRESETS[options.preset], "train", TrainParams)
    stated = load_section(PRESETS[options.preset], "pretrain", PretrainParams)
    geometry = Pretrained(dataclasses.replace(stated.encoder, stem="linear"), stated.text, {})
    batch_size = options.batch_size or params.batch_size
    params = dataclasses.replace(params, batch_size=batch_size, keep="last", epochs=1000)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), options.steps * params.batch_size)
        tokenizer = CaptionTokenizer.load(Path(folder) / "captions")
        given = (params, geometry, images, tokenizer, device)
        print(f"{options.preset} on {where}: batch {params.batch_size}")
        sides = {"iqagpt": lambda: OurSide(*given), "Trainer": lambda: TrainerSide(*given)}
        if options.compiled:
            sides["iqagpt, compiled"] = lambda: compiled_side(*given)
        rates = compare(sides, options.rounds)
        for name in rates:
            print(f"{name:16} {rates[name] / rates['Trainer']:8.2f} of Trainer")
        if device.type == "cuda":
            work, peak = flops_per_image(geometry, images, tokenizer, device), peak_flops(device)
            print(f"{work / 1e9:.1f} GFLOP an image and step; peak dense bf16 {peak / 1e12:.0f} TFLOP/s")
            for name, rate in rates.items():
                print(f"{name:16} {rate * work / peak:8.1%} of peak   {PAPER_IMAGES / rate:8.1f} s for 50 x 800 images")


if __name__ == "__main__":
    main()
