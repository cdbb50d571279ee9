"""Who scores the images: a reader simulated from what can be seen, or a real one whose table is given.

Both end in the same table, one row per image and reader, with the four criteria of `iqagpt.criteria`; its column
``score_source`` tells them apart, because simulated scores are never a radiologist's.
"""
