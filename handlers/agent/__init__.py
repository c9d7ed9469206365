"""The agent beside a TorchServe: has it serve the versions that the table `models` says, and tells how far it is.

It runs in a container of its own in TorchServe's pod (`python -m handlers.agent`), so that the code of models sees
neither the database's password nor the model store's. Both share a folder and loopback, where the management port is.
"""
