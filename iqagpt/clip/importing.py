"""Published CLIP ResNets under our names: what ``iqagpt weights import --clip`` writes.

Read: OpenAI's and open_clip's state dict (``visual.conv1.weight``, ``transformer.resblocks.0.attn.in_proj_weight``), as in
``timm/resnet50_clip.openai`` on the Hugging Face hub, with CLIP's tokenizer beside it. The positions of the attention pooling are
dropped, as in CLIP-IQA: without them images of any size fit.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from iqagpt.artifacts import ArtifactWriter
from iqagpt.captioner.foreign.hub import local_path
from iqagpt.captioner.foreign.names import Rules, State, amend, check_part, need, rename, shape_of
from iqagpt.captioner.foreign.reading import find_model_file, read_tensors, sha256_of
from iqagpt.captioner.foreign.report import Report
from iqagpt.clip.model import HEAD_WIDTH, Clip
from iqagpt.clip.stored import save_clip
from iqagpt.clip.tokens import BEGIN, END, FILE, ClipTokens
from iqagpt.errors import InputError

#: Weights of both towers, best first: open_clip's names, then general ones.
MODEL_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin", "model.safetensors", "pytorch_model.bin")
TOKENIZER_FILES = (FILE, "vocab.json", "merges.txt")
_LAYERS = "text.text_model.encoder.layers."
_CONVOLUTIONS = {"1": "conv1_1x1", "2": "conv2_kxk", "3": "conv3_1x1"}
_LAYER_PARTS = {
    r"ln_1\.": "layer_norm1.",
    r"ln_2\.": "layer_norm2.",
    r"attn\.in_proj_": "self_attn.in_proj_",
    r"attn\.out_proj\.": "self_attn.out_proj.",
    r"mlp\.c_fc\.": "mlp.fc1.",
    r"mlp\.c_proj\.": "mlp.fc2.",
}
_COUNTS = "num_batches_tracked"


def _rules() -> Rules:
    rules: list[tuple[str, str | None, str]] = [
        (rf".*\.{_COUNTS}$", None, "counts of batches, not used"),
        (r"visual\.attnpool\.positional_embedding$", None, "positions of the pooling: images of any size"),
        (r"(input_resolution|context_length|vocab_size|attn_mask)$", None, "no weight"),
    ]
    for number, name in _CONVOLUTIONS.items():
        rules += [
            (rf"visual\.conv{number}\.", f"image.stem.conv{number}.conv.", ""),
            (rf"visual\.bn{number}\.", f"image.stem.conv{number}.bn.", ""),
        ]
        for stage in range(4):
            block = rf"visual\.layer{stage + 1}\.(\d+)\."
            ours = rf"image.stages.{stage}.\1."
            rules += [
                (rf"{block}conv{number}\.", f"{ours}{name}.conv.", ""),
                (rf"{block}bn{number}\.", f"{ours}{name}.bn.", ""),
            ]
    for stage in range(4):
        block = rf"visual\.layer{stage + 1}\.(\d+)\.downsample\."
        ours = rf"image.stages.{stage}.\1.shortcut.conv."
        rules += [(rf"{block}0\.", f"{ours}conv.", ""), (rf"{block}1\.", f"{ours}bn.", "")]
    rules += [(rf"visual\.attnpool\.{theirs}_proj\.", f"image.head.{ours}.", "") for theirs, ours in
              (("q", "q"), ("k", "k"), ("v", "v"), ("c", "proj"))]  # fmt: skip
    layer = r"transformer\.resblocks\.(\d+)\."
    rules += [(rf"{layer}{theirs}", rf"{_LAYERS}\1.{ours}", "") for theirs, ours in _LAYER_PARTS.items()]
    return (
        *rules,
        (r"token_embedding\.", "text.text_model.embeddings.token_embedding.", ""),
        (r"positional_embedding$", "text.text_model.embeddings.position_embedding.weight", ""),
        (r"ln_final\.", "text.text_model.final_layer_norm.", ""),
        (r"text_projection$", "text.text_projection.weight", ""),
        (r"logit_scale$", "logit_scale", ""),
    )


RULES: Rules = _rules()


def import_clip(source: str, writer: ArtifactWriter) -> Report:
    """Convert a published CLIP ResNet into an artifact that `iqagpt.clip.stored` opens.

    Parameters
    ----------
    source : str
        A folder or file, or ``hf:OWNER/NAME`` on the Hugging Face hub.
    writer : ArtifactWriter

    Returns
    -------
    Report
        What became of every tensor.

    Raises
    ------
    InputError
        If a file is missing, needs code to be read, or is no CLIP with a ResNet.
    """
    file = find_model_file(local_path(source, MODEL_FILES, TOKENIZER_FILES), MODEL_FILES)
    report = Report()
    tensors = rename(file, read_tensors(file), RULES, report)
    _split_projections(file, tensors, report)
    tokens = _tokens(file.parent)
    config = _geometry(file, tensors, tokens)
    with torch.device("meta"):
        expected = {k: v for k, v in Clip.from_config(config).state_dict().items() if not k.endswith(_COUNTS)}
    for part in ("image.", "text."):
        own = {name: tensor for name, tensor in expected.items() if name.startswith(part)}
        check_part(file, tensors, own, part, may_lack="-")
    clip = Clip.from_config(config)
    clip.load_state_dict(tensors, strict=False)
    save_clip(writer, clip, tokens)
    writer.info["sources"] = [{"kind": "clip", "file": file.name, "sha256": sha256_of(file)}]
    writer.table("report", report.table())
    return report


def _split_projections(file: Path, tensors: State, report: Report) -> None:
    """Split each layer's stacked query, key and value; turn the projection of texts, stored as (in, out)."""
    for name in [name for name in tensors if ".self_attn.in_proj_" in name]:
        stacked = tensors.pop(name)
        if len(stacked) % 3:
            raise InputError(f"{file}: the tensor for '{name}' has {len(stacked)} rows; expected query, key and value")
        for part, value in zip("qkv", stacked.chunk(3), strict=True):
            tensors[name.replace("in_proj_", f"{part}_proj.")] = value.contiguous()
        amend(report, name, "split into query, key and value")
    name = "text.text_projection.weight"
    projection = need(file, tensors, name)
    shape_of(file, name, projection, 2)
    tensors[name] = projection.T.contiguous()
    amend(report, name, "transposed")


def _geometry(file: Path, tensors: State, tokens: ClipTokens) -> dict[str, Any]:
    """Read the geometry off the shapes."""

    def shape(name: str, dimensions: int) -> torch.Size:
        return shape_of(file, name, need(file, tensors, name), dimensions)

    if need(file, tensors, "logit_scale").numel() != 1:
        raise InputError(f"{file}: 'logit_scale' is no single number; is it CLIP?")
    tensors["logit_scale"] = tensors["logit_scale"].reshape(())
    rows, width = shape("text.text_model.embeddings.token_embedding.weight", 2)
    positions, _ = shape("text.text_model.embeddings.position_embedding.weight", 2)
    intermediate, _ = shape(f"{_LAYERS}0.mlp.fc1.weight", 2)
    if tokens.size > rows:
        raise InputError(f"{file}: {rows} rows of words, but {FILE} has {tokens.size} tokens; get both from one place")
    depths = [_count(tensors, rf"image\.stages\.{stage}\.(\d+)\.") for stage in range(4)]
    image = {
        "width": shape("image.stages.0.0.conv1_1x1.conv.weight", 4)[0],
        "stem": shape("image.stem.conv3.conv.weight", 4)[0],
        "depths": depths,
    }
    text = {
        "width": width,
        "layers": _count(tensors, rf"{re.escape(_LAYERS)}(\d+)\."),
        "heads": max(1, width // HEAD_WIDTH),
        "intermediate": intermediate,
        "positions": positions,
    }
    if (
        not all(depths)
        or width % text["heads"]
        or (32 * image["width"]) % HEAD_WIDTH
        or image["stem"] % 2
        or image["width"] % 8
    ):
        raise InputError(f"{file}: no CLIP with a ResNet of ours ({image}, {text}); expected one such as RN50")
    embedding = shape("image.head.proj.weight", 2)[0]
    return {"image": image, "text": text, "embedding": embedding, "vocabulary_size": rows, "eos": tokens.end}


def _count(tensors: Mapping[str, torch.Tensor], pattern: str) -> int:
    return len({found[1] for name in tensors if (found := re.match(pattern, name))})


def _tokens(folder: Path) -> ClipTokens:
    """Read CLIP's tokenizer: one file, or vocabulary and merges."""
    if (folder / FILE).is_file():
        try:
            return ClipTokens(Tokenizer.from_file(str(folder / FILE)))
        except InputError:
            raise
        # The tokenizers library raises bare Exception.
        except Exception as error:
            raise InputError(f"{folder / FILE}: not readable ({' '.join(str(error).split())[:160]})") from error
    vocabulary, merges = (folder / name for name in TOKENIZER_FILES[1:])
    if not (vocabulary.is_file() and merges.is_file()):
        raise InputError(
            f"{folder}: no {FILE}, nor vocab.json with merges.txt, beside the weights; CLIP's tokenizer is needed"
        )
    from transformers import CLIPTokenizer

    try:
        built = CLIPTokenizer.from_pretrained(folder, bos_token=BEGIN, eos_token=END, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder}: vocab.json and merges.txt are not readable ({error})") from error
    return ClipTokens(built.backend_tokenizer)
