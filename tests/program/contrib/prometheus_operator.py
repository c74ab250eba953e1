"""Reads objects of the Prometheus operator, as YAML, from standard input, and fails if one does not match its schema exactly."""
import sys

import yaml
from cloudcoil.models.prometheus_operator import v1

for document in yaml.safe_load_all(sys.stdin):
    model = getattr(v1, document["kind"]).model_validate(document)
    # The models ignore what they do not know.
    understood = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if understood != document:
        sys.exit(f"{document['kind']}: understood as {understood}")
    print(document["kind"], document["metadata"]["name"])
