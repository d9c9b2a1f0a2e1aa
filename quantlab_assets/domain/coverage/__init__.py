"""Coverage: how much of the time around each call its slices cover.

How complete a slice is in itself is `domain.slices`; reading and publishing, `handlers.coverage`.
"""
