"""One HTML page about a run: values of evaluation and training → sections → HTML. No torch."""

REPORT = "report.html"  # in every run; here, where its name loads nothing
