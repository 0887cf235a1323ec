"""Arrow record batches to flat arrays, shifted, and back."""
