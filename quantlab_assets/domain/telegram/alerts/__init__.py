"""From messages to alerts: versions, mentions, answers, calls, and what became of the rest.

Which address a text names is found beside this chapter, in `addresses`, `links` and `cards`.
"""
