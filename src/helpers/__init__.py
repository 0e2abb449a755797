"""The thin package that the notebooks share; its modules are named by the field's words."""
