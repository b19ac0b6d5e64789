"""A bundle as a service: an HTTP API, the batcher behind it, and a page to drop images on. Never torch."""
