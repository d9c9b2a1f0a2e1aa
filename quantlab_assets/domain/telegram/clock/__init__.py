"""Which clock an HTML export was written by, judged by what bots wrote into it."""
