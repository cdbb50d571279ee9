"""Contrast of images and captions, a pre-training objective (paper 2.2, reference 13; `iqagpt.captioner.objectives`)."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

#: Within which the learnt temperature stays, as in Medical X-VL.
TEMPERATURES = (1e-3, 0.5)


class Contrast(nn.Module):
    """Cross- and intra-modal contrast with a momentum teacher and a queue."""

    def __init__(self, image_width: int, text_width: int, embedding: int, *, length: int, temperature: float) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, embedding)
        self.text = nn.Linear(text_width, embedding)
        self.image_taught = deepcopy(self.image).requires_grad_(False)
        self.text_taught = deepcopy(self.text).requires_grad_(False)
        self.temperature = nn.Parameter(torch.tensor(temperature))
        self.register_buffer("image_queue", torch.zeros(0, embedding))
        self.register_buffer("text_queue", torch.zeros(0, embedding))
        self.register_buffer("key_queue", torch.zeros(0, dtype=torch.long))
        self.length = length

    def forward(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        taught: tuple[torch.Tensor, torch.Tensor],
        keys: torch.Tensor,
        trust: float,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss, and the similarity of images to captions of this batch (B, B).

        Parameters
        ----------
        image, text : Tensor, (B, width)
            [CLS] of the model.
        taught : (Tensor, Tensor)
            [CLS] of image and text by the teacher.
        keys : Tensor, (B,), int64
        trust : float
            Part of the targets that comes from the teacher.
        """
        with torch.no_grad():
            self.temperature.clamp_(*TEMPERATURES)
            images_taught = functional.normalize(self.image_taught(taught[0]), dim=1)
            texts_taught = functional.normalize(self.text_taught(taught[1]), dim=1)
            all_images = torch.cat([images_taught, self.image_queue])
            all_texts = torch.cat([texts_taught, self.text_queue])
            all_keys = torch.cat([keys, self.key_queue])
            same = (keys[:, None] == all_keys[None]).float()
            same = same / same.sum(1, keepdim=True)
        images, texts = functional.normalize(self.image(image), dim=1), functional.normalize(self.text(text), dim=1)
        losses = []
        for own, own_taught in ((images, images_taught), (texts, texts_taught)):
            for others in (all_images, all_texts):
                with torch.no_grad():
                    target = (1 - trust) * same + trust * (own_taught @ others.T / self.temperature).softmax(1)
                found = (own @ others.T / self.temperature).log_softmax(1)
                # Less the target's entropy, so that a perfect loss is 0 however many captions are equal.
                losses.append(functional.kl_div(found, target, reduction="batchmean"))
        self.image_queue, self.text_queue = all_images[: self.length], all_texts[: self.length]
        self.key_queue = all_keys[: self.length]
        return torch.stack(losses).mean(), images @ texts.T / self.temperature

    def _load_from_state_dict(self, state: dict[str, torch.Tensor], prefix: str, *others: Any) -> None:
        # Queues grow from nothing: loading takes their length as it comes.
        for name in ("image_queue", "text_queue", "key_queue"):
            if prefix + name in state:
                setattr(self, name, getattr(self, name).new_empty(state[prefix + name].shape))
        super()._load_from_state_dict(state, prefix, *others)
