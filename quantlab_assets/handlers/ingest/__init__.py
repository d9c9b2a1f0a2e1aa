"""From raw exports and candle files to messages, alerts and quarantine."""
