"""Judges requests that Slipway sent to Vertex AI, by the discovery document in Google's own client: JSON lines on standard input, one sentence a problem on standard output."""
import json
import pathlib
import re
import sys
from urllib.parse import unquote

import googleapiclient.discovery_cache

DOCUMENTS = pathlib.Path(googleapiclient.discovery_cache.__file__).parent / "documents"
API = json.loads((DOCUMENTS / "aiplatform.v1.json").read_text())
SCHEMAS = API["schemas"]


def methods(resource):
    yield from resource.get("methods", {}).values()
    for below in resource.get("resources", {}).values():
        yield from methods(below)


METHODS = [method for method in methods(API) if ".projects.locations." in method["id"]]


def pattern(method):
    made = ""
    for part in re.split(r"(\{\+?[a-zA-Z]+\})", method["path"]):
        name = re.fullmatch(r"\{\+?([a-zA-Z]+)\}", part)
        if name:
            given = method["parameters"][name[1]].get("pattern", "^[^/]+$")
            made += given.removeprefix("^").removesuffix("$")
        else:
            made += re.escape(part)
    return "/" + made


def check(schema, value, path, problems):
    if "$ref" in schema:
        schema = SCHEMAS[schema["$ref"]]
    kind = schema.get("type", "any")
    fits = {
        "object": lambda: isinstance(value, dict),
        "array": lambda: isinstance(value, list),
        "string": lambda: isinstance(value, str),
        "boolean": lambda: isinstance(value, bool),
        "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda: isinstance(value, (int, float)) and not isinstance(value, bool),
        "any": lambda: True,
    }
    if not fits[kind]():
        problems.append(f"{path}: {value!r} is no {kind}")
        return
    if "enum" in schema and value not in schema["enum"]:
        problems.append(f"{path}: {value!r} is none of {schema['enum']}")
    if kind == "array":
        for n, item in enumerate(value):
            check(schema["items"], item, f"{path}[{n}]", problems)
    if kind == "object":
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            if name in known:
                if known[name].get("readOnly"):
                    problems.append(f"{path}.{name} is the platform's to write")
                check(known[name], item, f"{path}.{name}", problems)
            elif more:
                check(more, item, f"{path}.{name}", problems)
            else:
                problems.append(f"{path}.{name} is unknown")


def judge(call, problems, judged):
    if not call["path"].startswith("/v1/projects/"):
        return
    path = unquote(call["path"])
    fitting = [one for one in METHODS if one["httpMethod"] == call["method"] and re.fullmatch(pattern(one), path)]
    if not fitting:
        problems.append(f"{call['method']} {path}: no such method")
        return
    method = fitting[0]
    judged.add(method["id"].removeprefix("aiplatform.projects.locations."))
    for name, _ in call["query"]:
        if method["parameters"].get(name, {}).get("location") != "query":
            problems.append(f"{method['id']}: query {name} is unknown")
    if "request" in method:
        check(method["request"], call["body"], method["id"], problems)
    elif call["body"] is not None:
        problems.append(f"{method['id']}: takes no body")


def main():
    problems, judged = [], set()
    for line in sys.stdin:
        judge(json.loads(line), problems, judged)
    for problem in sorted(set(problems)):
        print(problem)
    needed = {
        "models.upload", "models.list", "models.delete", "endpoints.create", "endpoints.patch", "endpoints.deployModel",
        "endpoints.undeployModel", "endpoints.mutateDeployedModel", "endpoints.predict", "endpoints.delete", "endpoints.operations.get", "endpoints.operations.list",
    }
    if not needed <= judged:
        print(f"not all methods were there to be judged: {sorted(needed - judged)}")


main()
