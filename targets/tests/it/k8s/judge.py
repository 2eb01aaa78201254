"""Reads manifests, one JSON a line: {"version": ..., "manifest": ...}. Each must be valid, strictly, for that version of Kubernetes."""

import json
import sys

import kubernetes_validate

judged, wrong = 0, []
for line in sys.stdin:
    asked = json.loads(line)
    manifest, version = asked["manifest"], asked["version"]
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        wrong.append(f"{version} {manifest['kind']} {manifest['metadata']['name']}: {error}")
    judged += 1
print("\n".join(wrong) or f"{judged} manifests are valid")
sys.exit(1 if wrong or not judged else 0)
