"""Judges requests to AWS by what AWS itself publishes: botocore's service models and its signer.

Reads JSON lines of requests; argument: the access keys, as JSON {id: secret}. Prints what it judged, as JSON.
"""

import datetime
import json
import re
import sys
import unittest.mock
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.validate

SERVICES = {"sagemaker": "sagemaker", "ecr": "ecr", "sts": "sts", "runtime": "sagemaker-runtime"}

loader = botocore.loaders.Loader()
models = {name: botocore.model.ServiceModel(loader.load_service_model(full, "service-2")) for name, full in SERVICES.items()}
keys = json.loads(sys.argv[1])
validator = botocore.validate.ParamValidator()


def spoken(pattern):
    """A pattern in Python's words. Narrower where Python has none."""
    words = {"\\p{L}": "a-zA-Z", "\\p{Z}": " ", "\\p{N}": "0-9", "\\p{ASCII}": "[\\x00-\\x7f]"}
    for word, ours in words.items():
        pattern = pattern.replace(word, ours)
    return pattern


def patterns(shape, value, path=""):
    """botocore's validator checks types, what is required, and lower bounds; the rest is in its models, too."""
    if shape.type_name == "structure":
        for name, inner in value.items():
            if name not in shape.members:
                yield f"{path}.{name} is unknown"
            else:
                yield from patterns(shape.members[name], inner, f"{path}.{name}")
    elif shape.type_name == "list":
        most = shape.metadata.get("max")
        assert most is None or len(value) <= most, f"{path} has more than {most}"
        for inner in value:
            yield from patterns(shape.member, inner, f"{path}[]")
    elif shape.type_name == "map":
        for key, inner in value.items():
            yield from patterns(shape.key, key, f"{path}.{key}")
            yield from patterns(shape.value, inner, f"{path}.{key}")
    elif shape.type_name == "string":
        pattern, enum, most = shape.metadata.get("pattern"), shape.metadata.get("enum"), shape.metadata.get("max")
        if pattern and not re.fullmatch(spoken(pattern), value):
            yield f"{path}: {value!r} does not match {pattern}"
        if enum and value not in enum:
            yield f"{path}: {value!r} is none of {enum}"
        if most is not None and len(value) > most:
            yield f"{path}: longer than {most}"


def judge_body(call):
    model = models[call["service"]]
    operation = model.operation_model(call["operation"])
    if call["service"] == "runtime":
        endpoint = call["path"].split("/")[2]
        params = {"EndpointName": endpoint, "Body": call["body"].encode(), "ContentType": call["headers"]["content-type"]}
    elif call["service"] == "sts":
        pairs = dict(urllib.parse.parse_qsl(call["body"], strict_parsing=True))
        assert pairs.pop("Action") == call["operation"] and pairs.pop("Version") == model.api_version
        params = {k: int(v) if k == "DurationSeconds" else v for k, v in pairs.items()}
    else:
        assert call["headers"]["content-type"] == "application/x-amz-json-" + model.metadata["jsonVersion"]
        assert call["headers"]["x-amz-target"] == f"{model.metadata['targetPrefix']}.{call['operation']}"
        params = json.loads(call["body"])
    problems = []
    if operation.input_shape is not None:
        report = validator.validate(params, operation.input_shape)
        if report.has_errors():
            problems.append(report.generate_report())
        problems += list(patterns(operation.input_shape, params))
    uri = operation.http["requestUri"]
    if call["service"] == "runtime":
        uri = uri.replace("{EndpointName}", endpoint)
    assert call["path"] == uri and call["method"] == operation.http["method"], (call["path"], uri)
    return problems


def judge_signature(call):
    """Signs the same request at the same time, and compares."""
    headers = call["headers"]
    said = headers["authorization"]
    credential = said.split("Credential=")[1].split("/")[0]
    signed = said.split("SignedHeaders=")[1].split(",")[0].split(";")
    token = headers.get("x-amz-security-token")
    region = said.split("/")[2]
    name = models[call["service"]].signing_name
    own = {k: v for k, v in headers.items() if k in signed and k not in ("x-amz-date", "x-amz-security-token")}
    url = f"http://{headers['host']}{call['path']}"
    request = botocore.awsrequest.AWSRequest(call["method"], url, own, data=call["body"].encode())
    at = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(credential, keys[credential], token), name, region)
    with unittest.mock.patch.object(botocore.auth, "get_current_datetime", lambda: at, create=True):
        signer.add_auth(request)
    ours = request.headers["Authorization"]
    return [] if ours == said else [f"signature: {said} is not {ours}"]


problems, judged = [], {}
for line in sys.stdin:
    call = json.loads(line)
    name = f"{call['service']}.{call['operation']}"
    judged[name] = judged.get(name, 0) + 1
    for problem in judge_body(call) + judge_signature(call):
        problems.append(f"{name}: {problem}")
print(json.dumps({"judged": judged, "problems": problems}))
