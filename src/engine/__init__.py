"""The training engine: rows and windows of word pieces, one loop, the way back, several processes."""
