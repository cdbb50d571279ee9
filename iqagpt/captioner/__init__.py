"""The image quality captioner: image encoder, text stack, tokenizer, fitting and decoding (paper 2.2, Fig. 3)."""
