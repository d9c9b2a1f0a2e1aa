"""The walk of each call through its candles: entries, exits, what they cost, who gets in."""
