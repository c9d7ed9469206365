"""What runs inside TorchServe. `scripts/build-model` puts it into each model archive, beside `sluice.images`."""
