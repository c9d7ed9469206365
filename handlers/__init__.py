"""Code that runs inside TorchServe. `scripts/build-model` puts it into each model archive, next to `sluice.images`."""
