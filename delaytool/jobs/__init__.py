"""One shard's work: apply, verify, revert, stats."""
