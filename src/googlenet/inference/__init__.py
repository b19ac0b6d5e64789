"""Answers from a bundle: engine, classifier, verify. Never torch."""
