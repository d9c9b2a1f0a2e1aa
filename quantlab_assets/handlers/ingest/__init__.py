"""From raw exports and candle files to messages, alerts and quarantine.

Formats are the sources' own, and what makes a message a call is `domain.telegram`.
"""
