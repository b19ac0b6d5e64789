"""A trained network without its least useful branches: smaller, fine-tuned, and compared with the one it came from."""
