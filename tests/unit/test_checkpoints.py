"""What is kept of fine-tuning: only the training that it is of goes on with it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.optim import AdamW

from sluice.objects.kept import KeptFiles
from sluice.settings import read_settings
from trainer.learning.checkpoints import Checkpoints, Tuned, TuningState


def tuned_and_descent(width: int) -> tuple[Tuned, AdamW]:
    tensor = torch.ones(width, requires_grad=True)
    return {"fc.weight": tensor}, AdamW([tensor])


def test_a_training_goes_on_with_what_it_kept_and_not_with_what_another_did(tmp_path: Path) -> None:
    """A new database may number its trainings as an earlier one did whose model store it uses."""
    store = KeptFiles(f"file://{tmp_path}", read_settings())
    tuned, descent = tuned_and_descent(3)
    tuned["fc.weight"].grad = torch.ones(3)
    descent.step()
    state = TuningState(1, 2, [(0.5, 0.25)], 0.25, {"fc.weight": torch.zeros(3)}, 1.5)
    Checkpoints(store, "kept", "these").save(state, tuned, descent)

    again, further = tuned_and_descent(3)
    assert Checkpoints(store, "kept", "others").load(again, further) is None
    assert again["fc.weight"].tolist() == [1.0, 1.0, 1.0]
    found = Checkpoints(store, "kept", "these").load(again, further)
    assert found is not None
    assert (found.epoch, found.step, found.history) == (1, 2, [(0.5, 0.25)])
    assert torch.equal(again["fc.weight"], tuned["fc.weight"])
    assert further.state[again["fc.weight"]]["step"] == 1

    wider, other = tuned_and_descent(4)
    assert Checkpoints(store, "kept", "these").load(wider, other) is None
    assert wider["fc.weight"].tolist() == [1.0] * 4
    store.close()
