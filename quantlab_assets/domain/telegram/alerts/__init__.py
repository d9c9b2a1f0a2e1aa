"""From messages to alerts: versions, mentions, answers, calls, and what became of the rest."""
