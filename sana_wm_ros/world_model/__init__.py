"""The world model: tokenizer, transformer, state, sampler, heads, checkpoints. Knows torch only."""
