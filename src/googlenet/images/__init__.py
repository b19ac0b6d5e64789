"""Bytes → the exact pixels a network sees. Imports errors and card only; never torch."""
