"""From predictions to verdicts: scores, their uncertainty, and the claims."""
