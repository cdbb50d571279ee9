"""Image encoder and text stack out of a Medical X-VL checkpoint.

References
----------
sangjoon-park/Medical_X-VL at fb3caad (models/model_pretrain.py, models/xbert.py, models/ibot_vit.py): the commits of 2022, one
384-wide text stack. The commits of 2023 are another model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iqagpt.captioner.foreign import bert, vit
from iqagpt.captioner.foreign.names import Rules, State, rename
from iqagpt.captioner.foreign.report import Report
from iqagpt.errors import InputError

WIDTH, IMAGE_HEADS, TEXT_HEADS = 384, 6, 12
RULES: Rules = (
    (r"(visual_encoder|text_encoder|vision_proj|text_proj|head)_m\.", None, "momentum copy"),
    (r"head\.", None, "head of masked image modelling"),
    (r"(vision_proj|text_proj)\.", None, "projection of the contrast"),
    (r"itm_head\w*\.", None, "head of image-text matching"),
    (r"(temp|image_queue|text_queue|queue_ptr)$", None, "state of the contrast"),
    *((rf"visual_encoder\.{pattern}", became, why) for pattern, became, why in vit.RULES),
    *((rf"text_encoder\.{pattern}", became, why) for pattern, became, why in bert.RULES),
)


def import_medical_x_vl(file: Path, state: State, settings: Mapping[str, Any], report: Report) -> tuple[State, dict]:
    """Take image encoder and text stack out of a Medical X-VL checkpoint of the 2022 commits.

    Parameters
    ----------
    file : Path
        For messages.
    state : dict of str to Tensor
        As in the file.
    settings : mapping
        Not used: the repository writes none.
    report : Report
        Gets one line a tensor.

    Raises
    ------
    InputError
        If it is of the 2023 commits, or not complete.
    """
    _check_2022(file, state)
    # Medical X-VL feeds [0, 1] without normalisation, as we do.
    tensors = rename(file, state, RULES, report)
    tensors, encoder = vit.finish_vit(file, tensors, report, heads=IMAGE_HEADS)
    text = bert.finish_bert(file, tensors, heads=TEXT_HEADS)
    if not text["text"]["fusion_layers"]:
        raise InputError(f"{file}: no cross-attention to the image in text_encoder; expected it from layer 6 on")
    return tensors, {**encoder, **text}


def _check_2022(file: Path, state: State) -> None:
    later = [name for name in state if name.startswith("fusion_encoder.")]
    wide = [
        f"{name} is {state[name].shape[-1]} wide"
        for name in ("visual_encoder.backbone.cls_token", "visual_encoder.cls_token",
                     "text_encoder.bert.embeddings.word_embeddings.weight")
        if name in state and state[name].ndim and state[name].shape[-1] != WIDTH
    ]  # fmt: skip
    if later or wide:
        raise InputError(
            f"{file}: a Medical X-VL checkpoint of the 2023 commits ({(wide + later)[0]}), another model; expected one "
            f"of 2022 (up to fb3caad): image encoder and one text_encoder, both {WIDTH} wide"
        )
