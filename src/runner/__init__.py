"""What run_all.sh starts: profiles, stages, their notebooks, and the report; no result depends on it."""
