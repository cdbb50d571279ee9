"""The dialogue in a browser, and the same as a small HTTP API; on this machine only.

``app``
    the routes
``guard``
    which requests are let in, and what every answer says to the browser
``uploads``
    an upload as an image in HU, in memory, within limits
``images``
    the images that are held, and what is known of them
``export``
    a result as a printable page, and pictures
``command``
    ``iqagpt serve``
"""
