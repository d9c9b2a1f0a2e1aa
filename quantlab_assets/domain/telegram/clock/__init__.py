"""Which clock an HTML export was written by, judged by what bots wrote into it.

Reading the pages is `adapters.telegram.html`; what follows from the times is `alerts`.
"""
