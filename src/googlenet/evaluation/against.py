"""Which images two runs got wrong, both or one of them: as a list that ``train`` reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from googlenet.evaluation.evaluate import Against, Evaluation
from googlenet.text import BETWEEN_LABELS


def paired_rows(evaluation: Evaluation, against: Against) -> list[dict[str, Any]]:
    """Return a row for each image that one of the two got wrong, the highest loss of the first run first.

    Beside the columns of a mistake, ``predicted_against`` is the answer of the other run, and ``wrong`` says who is
    wrong: ``both``, ``first`` or ``second``.
    """
    first, second = evaluation.answers, against.evaluation.answers
    place = {item.name: at for at, item in enumerate(second.images)}
    found = []
    for at in np.argsort(-first.losses, kind="stable"):
        other = place.get(first.images[at].name)
        if other is None or (first.right[at] and second.right[other]):
            continue
        wrong = "second" if first.right[at] else "first" if second.right[other] else "both"
        answer = BETWEEN_LABELS.join(second.predicted(other))
        found.append(first.row(int(at)) | {"predicted_against": answer, "wrong": wrong})
    return found
