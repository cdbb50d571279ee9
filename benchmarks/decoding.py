"""Captions a second: template decoding beside transformers' greedy ``generate`` with a key-value cache and the same weights.

Command: ``python benchmarks/decoding.py [--model models/iqagpt]``, after a run of the pipeline. Decoding alone starts from image
tokens; whole captioning from images, through the captioner's own encoder on both sides. Sides take turns in one process, after one
round that is not counted. On a busy machine ``--processor-time`` with ``OMP_NUM_THREADS=1`` leaves out what other programs took.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from finetuning import reference_model
from transformers import GenerationConfig, VisionEncoderDecoderModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.logging import set_verbosity_error

from iqagpt.captioner.captioner import Captioner, load_captioner
from iqagpt.captioner.decoding import generate, score_captions
from iqagpt.captioner.image_encoder import EncoderParams
from iqagpt.captioner.pretrained import Pretrained
from iqagpt.captioner.template_decoder import TemplateDecoder
from iqagpt.captioner.text_stack import TextParams
from iqagpt.captioner.tokenizer import CaptionTokenizer
from iqagpt.device import mixed_precision, pick_device

MAX_TOKENS = 80


def twin(model: Captioner, tokenizer: CaptionTokenizer) -> VisionEncoderDecoderModel:
    """Return transformers' model with the captioner's text weights."""
    geometry = Pretrained(EncoderParams(**model.config["encoder"]), TextParams(**model.config["text"]), {})
    peer = reference_model(geometry, model.config["vocabulary_size"])
    state = {
        name.replace("embeddings.", "bert.embeddings.", 1)
        if name.startswith("embeddings.")
        else name.replace("layers.", "bert.encoder.layer.", 1)
        if name.startswith("layers.")
        else name.replace("head.", "cls.predictions.", 1): tensor
        for name, tensor in model.text.state_dict().items()
    }
    missing, unexpected = peer.decoder.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise SystemExit(f"the two models differ: missing {missing}, unexpected {unexpected}")
    peer.decoder.config.use_cache = True
    peer.generation_config = GenerationConfig(
        decoder_start_token_id=tokenizer.begin_id,
        bos_token_id=tokenizer.begin_id,
        eos_token_id=tokenizer.end_id,
        pad_token_id=tokenizer.pad_id,
        max_new_tokens=MAX_TOKENS,
        do_sample=False,
        use_cache=True,
    )
    return peer.to(next(model.parameters()).device).eval()


def rates(
    sides: dict[str, Callable[[], object]], count: int, rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Let the sides take turns after a warm-up; return the median of captions a second of each."""
    for side in sides.values():
        side()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            begin = clock()
            side()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found[name].append(count / (clock() - begin))
    return {name: statistics.median(values) for name, values in found.items()}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/iqagpt"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.processor_time else time.perf_counter
    set_verbosity_error()
    device = pick_device()
    model, tokenizer, _ = load_captioner(options.model, device)
    peer, decoder, side = twin(model, tokenizer), TemplateDecoder(model, tokenizer), model.config["image_size"]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{options.model} on {where}; captions a second, median of {options.rounds} rounds")

    def by_generate(tokens: torch.Tensor) -> torch.Tensor:
        return peer.generate(encoder_outputs=BaseModelOutput(last_hidden_state=tokens))

    for batch in (1, 32):
        images = torch.rand((batch, 1, side, side), generator=torch.Generator().manual_seed(0)).to(device)
        with mixed_precision(device):
            tokens = model.encode_image(images)
            own = generate(model, tokenizer, tokens, max_tokens=MAX_TOKENS)
            theirs = [tokenizer.decode(row) for row in by_generate(tokens)[:, 1:].tolist()]
            print(f"batch {batch}: greedy captions equal to generate's: {sum(map(str.__eq__, own, theirs))} of {batch}")
            for name, start in (("decoding", lambda t=tokens: t), ("whole", lambda i=images: model.encode_image(i))):
                found = rates(
                    {
                        "template": lambda s=start: score_captions(decoder, s(), "conditional"),
                        "greedy": lambda s=start: generate(model, tokenizer, s(), max_tokens=MAX_TOKENS),
                        "generate": lambda s=start: by_generate(s()),
                    },
                    batch,
                    options.rounds,
                    clock,
                )
                ratio = found["template"] / found["generate"]
                shown = ", ".join(f"{side} {rate:.1f}" for side, rate in found.items())
                print(f"batch {batch}, {name}: {shown}; template / generate {ratio:.1f}")


if __name__ == "__main__":
    main()
