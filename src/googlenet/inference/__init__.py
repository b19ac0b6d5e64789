"""Runs a bundle (engine, classifier, pipeline: never torch) and makes one (export: torch)."""
