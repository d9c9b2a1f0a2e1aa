"""What the handlers need from the outside world, as protocols. Adapters implement them."""
