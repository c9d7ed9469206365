"""Load on the gateway: many people who send distinct pictures, compared with the same load on TorchServe itself."""
