"""Judges requests that Slipway sent to Azure's management API, by the models of Microsoft's own client: JSON lines on standard input, one sentence a problem on standard output."""
import json
import re
import sys

from azure.mgmt.machinelearningservices import models
from azure.mgmt.machinelearningservices._serialization import Deserializer
from azure.mgmt.machinelearningservices.operations import (
    _environment_versions_operations,
    _online_deployments_operations,
    _online_endpoints_operations,
)

CLASSES = {name: value for name, value in vars(models).items() if isinstance(value, type)}
DESERIALIZER = Deserializer(CLASSES)
WORKSPACE = r"/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.MachineLearningServices/workspaces/([^/]+)"
E = r"/onlineEndpoints/(?P<endpoint>[^/]+)"
D = E + r"/deployments/(?P<deployment>[^/]+)"
V = r"/environments/(?P<name>[^/]+)/versions/(?P<version>[^/]+)"
ENDPOINTS, DEPLOYMENTS, ENVIRONMENTS = _online_endpoints_operations, _online_deployments_operations, _environment_versions_operations
# Method, path, the vendor's function that builds the same request, the model of its body.
KNOWN = [
    ("PUT", E, ENDPOINTS.build_create_or_update_request, "OnlineEndpoint"),
    ("GET", E, ENDPOINTS.build_get_request, None),
    ("DELETE", E, ENDPOINTS.build_delete_request, None),
    ("POST", E + "/listKeys", ENDPOINTS.build_list_keys_request, None),
    ("POST", E + "/token", ENDPOINTS.build_get_token_request, None),
    ("GET", E + "/deployments", DEPLOYMENTS.build_list_request, None),
    ("PUT", D, DEPLOYMENTS.build_create_or_update_request, "OnlineDeployment"),
    ("GET", D, DEPLOYMENTS.build_get_request, None),
    ("DELETE", D, DEPLOYMENTS.build_delete_request, None),
    ("POST", D + "/getLogs", DEPLOYMENTS.build_get_logs_request, "DeploymentLogsRequest"),
    ("PUT", V, ENVIRONMENTS.build_create_or_update_request, "EnvironmentVersion"),
    ("GET", V, ENVIRONMENTS.build_get_request, None),
    ("DELETE", V, ENVIRONMENTS.build_delete_request, None),
    ("GET", r"/environments/(?P<name>[^/]+)/versions", ENVIRONMENTS.build_list_request, None),
]
ARGUMENTS = {"endpoint": "endpoint_name", "deployment": "deployment_name", "name": "name", "version": "version"}


def judge(call, problems, judged):
    if "Microsoft.MachineLearningServices" not in call["path"] or "/providers/Microsoft.Authorization/" in call["path"]:
        return
    for method, pattern, build, model in KNOWN:
        match = re.fullmatch(WORKSPACE + pattern, call["path"])
        if method != call["method"] or not match:
            continue
        arguments = {ARGUMENTS[name]: value for name, value in match.groupdict().items()}
        subscription, group, workspace = match.groups()[:3]
        arguments |= {"subscription_id": subscription, "resource_group_name": group, "workspace_name": workspace}
        if model:
            body(call, model, problems)
            arguments["json"] = call["body"]
        request = build(**arguments)
        query = dict(call["query"])
        if query.get("api-version") != request.url.split("api-version=")[1].split("&")[0]:
            problems.append(f"{call['path']}: api-version {query}")
        judged.add((method, pattern))
        return


def body(call, model, problems):
    """Every name is the model's, every value survives the way there and back, and validation passes."""
    read = DESERIALIZER(model, call["body"])
    validate(read, call["path"], problems)
    lost(call["body"], read.serialize(keep_readonly=True), call["path"], problems)


def validate(value, path, problems):
    """The rules that the vendor wrote beside each attribute."""
    if isinstance(value, (list, tuple)):
        for item in value:
            validate(item, path, problems)
    if isinstance(value, dict):
        for item in value.values():
            validate(item, path, problems)
    if not hasattr(value, "_attribute_map"):
        return
    for attribute in value._attribute_map:
        found, rules = getattr(value, attribute, None), value._validation.get(attribute, {})
        here = f"{path}/{attribute}"
        if rules.get("required") and found is None:
            problems.append(f"{here} is required")
        if rules.get("readonly") and found is not None:
            problems.append(f"{here} is the platform's to write")
        if found is not None and "pattern" in rules and not re.search(rules["pattern"], str(found)):
            problems.append(f"{here}: {found!r} does not match {rules['pattern']}")
        if found is not None and "min_length" in rules and len(found) < rules["min_length"]:
            problems.append(f"{here} is too short")
        validate(found, here, problems)


def lost(sent, kept, path, problems):
    if isinstance(sent, dict):
        for name, value in sent.items():
            if not isinstance(kept, dict) or name not in kept:
                if value not in ({}, None):
                    problems.append(f"{path}/{name}: not in the model")
            else:
                lost(value, kept[name], f"{path}/{name}", problems)
    elif str(sent) != str(kept) and not (str(sent).startswith("PT") and str(kept).startswith("PT")):
        problems.append(f"{path}: {sent!r} is read as {kept!r}")


def main():
    problems, judged = [], set()
    for line in sys.stdin:
        judge(json.loads(line), problems, judged)
    for problem in sorted(set(problems)):
        print(problem)
    puts = {pattern for method, pattern in judged if method == "PUT"}
    if puts != {E, D, V}:
        print(f"not all bodies were there to be judged: {puts}")


main()
