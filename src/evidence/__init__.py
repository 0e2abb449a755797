"""From predictions to verdicts: scores, their uncertainty, the claims, and analyses of why."""
