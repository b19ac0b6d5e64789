"""One HTML page about a run: values of evaluation and training → sections → HTML. No torch."""
