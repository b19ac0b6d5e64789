"""What is counted of each head in training: right answers and gradients, and that checkpoints keep them."""

import torch

import googlenet
from googlenet.training.fabric import Fabric
from googlenet.training.head_gradients import gradient_norms
from googlenet.training.microbatches import accumulate_gradients
from googlenet.training.objective import Objective
from googlenet.training.progress import EpochResult, Progress
from googlenet.training.task import OneLabel


def test_right_answers_and_gradients_of_each_head(tiny):
    torch.manual_seed(0)
    network = googlenet.create(tiny.with_dropout(0.0), num_classes=3).eval()
    with torch.no_grad():  # the last stage answers 0, the head 2
        list(network.fc.parameters())[-1][0] = 100.0
        list(network.aux1.parameters())[-1][2] = 100.0
    preprocessing = network.network.preprocessing(32)
    fabric, task = Fabric(accelerator="cpu"), OneLabel(3)
    objective = fabric.setup(Objective(network, preprocessing, 0.0, task).eval())
    images = torch.randint(0, 256, (24, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(24) // 10
    *_, main, aux = accumulate_gradients(fabric, objective, task, images, labels, 2, lambda n: n / 24)
    outputs = network.forward_with_aux(objective.normalise(images))
    right = [int((logits.argmax(1) == labels).sum()) for logits in (outputs.logits, *outputs.aux)]
    assert [main, aux] == right == [10, 4]

    parameters = {"fc": list(network.fc.parameters()), "aux1": list(network.aux1.parameters())}
    loss = torch.nn.functional.cross_entropy
    total = loss(outputs.logits, labels) + 0.3 * loss(outputs.aux[0], labels)
    expected = []
    for each in parameters.values():
        gradients = torch.autograd.grad(total, each, retain_graph=True)
        expected.append(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    torch.testing.assert_close(torch.tensor(gradient_norms(network)), torch.stack(expected), rtol=1e-4, atol=1e-6)
    network.zero_grad(set_to_none=True)
    assert gradient_norms(network) == [0.0, 0.0]


def test_they_are_kept_in_checkpoints_and_earlier_ones_are_read():
    progress = Progress()
    progress.count([2.0, 1.0, 1.0], 3, 4, [2], [0.5, 0.25])
    progress.count([2.0, 1.0, 1.0], 3, 4, [1], [1.5, 0.25])
    again = Progress.from_json(progress.to_json())
    assert (again.aux_correct, again.norms) == ([3], [8.0, 2.0])
    result = EpochResult(
        1, 0.1, 1.0, (1.0, 1.2), {"top1": 0.5}, 1.0, {"top1": 0.5}, 1.0, 1.0, 0.0, None, (0.4,), (2.0, 1.0)
    )
    columns = result.to_columns()
    assert (columns["train_top1_aux1"], columns["gradient_norm_main"], columns["gradient_norm_aux1"]) == (0.4, 2.0, 1.0)
    saved = progress.close_epoch(result).to_json()
    assert Progress.from_json(saved).history == [result]
    for row in saved["history"]:
        del row["aux_train"], row["gradient_norms"]
    del saved["aux_correct"], saved["norms"]
    (old,) = Progress.from_json(saved).history
    assert (old.aux_train, old.gradient_norms) == ((), ())
    assert "gradient_norm_main" not in old.to_columns()
