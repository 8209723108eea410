"""Adapters: each turns what one framework does into our events."""
