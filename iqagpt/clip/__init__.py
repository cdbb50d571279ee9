"""CLIP for the rivals CLIP-IQA and CLIP-IQA+ (paper 3.1): model, prompts, learned context, weights.

Image tower: timm's CLIP ResNet without positional embedding in its attention pooling, so that images of any size fit (Wang et al.,
Exploring CLIP for Assessing the Look and Feel of Images, AAAI 2023). Text tower: transformers' CLIP. Weights are published ones
that a user imported, or the small ``builtin`` pair, which is fitted to facts of the images and never to scores.
"""
