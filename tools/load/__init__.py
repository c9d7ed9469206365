"""Load on the gateway: many people who send distinct pictures, beside the same load on TorchServe itself."""
