"""Judges what a target really sent to Snowflake.

Reads JSON lines `{"method", "path", "query", "body", "token"}` from standard input. REST bodies are judged by the models of Snowflake's own client
(snowflake.core), paths and parameters by the client's own code, specifications by a YAML parser, tokens by PyJWT. Says what is wrong, and ends with 1.
"""

import hashlib
import base64
import inspect
import json
import re
import sys

import jwt
import yaml
from cryptography.hazmat.primitives import serialization
from snowflake.core.compute_pool._generated.api import compute_pool_api
from snowflake.core.image_repository._generated.api import image_repository_api
from snowflake.core.service._generated.api import service_api
from snowflake.core.service._generated.models.service import Service
from snowflake.core.service._generated.models.service_spec_inline_text import ServiceSpecInlineText

wrong = []
counts = {"rest": 0, "bodies": 0, "tokens": 0, "statements": 0, "specifications": 0}


def places():
    """Every path template of the client, with its methods and query parameters."""
    found = []
    for module in (service_api, image_repository_api, compute_pool_api):
        source = inspect.getsource(module)
        for part in re.split(r"def \w+_with_http_info", source)[1:]:
            path = re.search(r'"(/api/v2/[^"]+)"', part)
            method = re.search(r'^\s+"(GET|POST|PUT|DELETE)",$', part, re.M)
            if path and method:
                query = set(re.findall(r'_query_params\.append\(\("(\w+)"', part))
                template = re.sub(r"\\\{\w+\\\}", r"[^/:]+", re.escape(path.group(1)))
                found.append((method.group(1), re.compile(template + "$"), query))
    return found


PLACES = places()


def specification(text, what):
    counts["specifications"] += 1
    read = yaml.safe_load(text)
    if "$" in text:
        wrong.append(f"{what}: a dollar sign in {text}")
    if set(read) != {"spec"} or set(read["spec"]) - {"containers", "endpoints", "volumes", "logExporters", "platformMonitor"}:
        wrong.append(f"{what}: fields of {read}")
    known = {"name", "image", "command", "args", "env", "readinessProbe", "volumeMounts", "resources", "secrets"}
    for container in read["spec"]["containers"]:
        if set(container) - known or not re.fullmatch(r"/[a-z0-9_$]+/[a-z0-9_$]+/[a-z0-9_$]+/[a-z0-9._-]+:[a-z0-9._-]+", container["image"]):
            wrong.append(f"{what}: container {container}")
        if any(not isinstance(value, str) for value in container.get("env", {}).values()):
            wrong.append(f"{what}: env {container['env']}")
        if not isinstance(container["readinessProbe"]["port"], int):
            wrong.append(f"{what}: probe")
    for endpoint in read["spec"]["endpoints"]:
        if set(endpoint) != {"name", "port", "public"} or not isinstance(endpoint["public"], bool):
            wrong.append(f"{what}: endpoint {endpoint}")
    return read


def token(text, public):
    counts["tokens"] += 1
    claims = jwt.decode(text, public, algorithms=["RS256"], options={"require": ["iss", "sub", "iat", "exp"]})
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    fingerprint = "SHA256:" + base64.b64encode(hashlib.sha256(spki).digest()).decode()
    if claims["sub"] != "ACME-TEST.DEPLOYER" or claims["iss"] != f"{claims['sub']}.{fingerprint}":
        wrong.append(f"claims {claims}")
    if not 0 < claims["exp"] - claims["iat"] <= 3600:
        wrong.append(f"lifetime {claims}")


def rest(call):
    counts["rest"] += 1
    what = f"{call['method']} {call['path']}"
    fitting = [query for method, path, query in PLACES if method == call["method"] and path.match(call["path"])]
    if not fitting:
        wrong.append(f"{what}: the client has no such call")
    elif not any({name for name, _ in call["query"]} <= query for query in fitting):
        wrong.append(f"{what}: parameters {call['query']}")
    if call["body"] is None:
        return
    counts["bodies"] += 1
    body = call["body"]
    unknown = set(body) - set(Service.model_fields)
    if unknown:
        wrong.append(f"{what}: unknown {unknown}")
    Service.from_dict(body)
    ServiceSpecInlineText.from_dict(body["spec"])
    Service.model_validate({**body, "spec": ServiceSpecInlineText.from_dict(body["spec"])}, strict=True)
    read = specification(body["spec"]["spec_text"], what)
    if read["spec"]["containers"][0]["env"]["MODE"] != "a$b":
        wrong.append(f"{what}: a value changed on its way: {read}")


def statement(call):
    counts["statements"] += 1
    what = call["body"]["statement"]
    if set(call["body"]) - {"statement", "timeout", "database", "schema", "warehouse", "role", "bindings", "parameters"}:
        wrong.append(f"{what}: unknown fields")
    if {name for name, _ in call["query"]} - {"requestId", "retry", "async"}:
        wrong.append(f"{what}: parameters {call['query']}")
    inside = re.search(r"FROM SPECIFICATION \$\$(.*)\$\$$", what, re.S)
    if inside:
        specification(inside.group(1), "ALTER SERVICE")


def main():
    with open(sys.argv[1], "rb") as file:
        public = serialization.load_pem_private_key(file.read(), None).public_key()
    for line in sys.stdin:
        call = json.loads(line)
        try:
            token(call["token"], public)
            if call["path"].startswith("/api/v2/statements"):
                if call["method"] == "POST":
                    statement(call)
            else:
                rest(call)
        except Exception as error:
            wrong.append(f"{call['method']} {call['path']}: {error!r}")
    print(json.dumps(counts))
    for one in wrong:
        print(one, file=sys.stderr)
    return 1 if wrong or not all(counts.values()) else 0


sys.exit(main())
