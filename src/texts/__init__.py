"""Where text comes from: sources and their readers, synthetic text, corpora without leaks, task sets."""
