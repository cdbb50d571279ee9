"""Assessing a user's own images: files of any kind in, scores, captions and reports out, slice by slice."""
