"""What run_all.sh starts: profiles, stages, their notebooks, and the report; no result depends on it."""

import sys

# jsonschema, which checks notebooks, would parse a grammar of web addresses at every start: two seconds for nothing.
sys.modules.setdefault("rfc3987_syntax", None)
