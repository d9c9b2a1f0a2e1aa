"""The walk of each call through its candles: entries, exits, what they cost, who gets in.

`kernel.step` decides what happens at one candle, and nothing else does. What is made of the fills
is `results`.
"""
