"""The delay pattern and loss weights on arrays."""
