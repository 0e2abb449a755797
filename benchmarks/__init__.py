"""Paired measurements of the engine against what people would otherwise run; each module is a command."""
