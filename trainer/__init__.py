"""What makes models: today their archives (`trainer.archives`). Needs torch, as no other process does."""
