"""A service on SageMaker, through Dataiku's own client; `part` says how far: `deploy`, `fails`, `delete`."""

import json
import sys

import dataikuapi
import requests
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
client = dataikuapi.DSSClient(told["url"], told["key"])
deployer = client.get_apideployer()
MASK = "**********"
QUERY = [{"q": {"features": {"a": 1}}}]


def refused(action, *words):
    try:
        action()
    except DataikuException as failure:
        assert all(word in str(failure) for word in words), failure
        assert told["secret"] not in str(failure), failure
        return
    raise AssertionError("not refused: %s" % (words,))


def ask(document, key="key", **variables):
    """Asks GraphQL; nothing that it says holds the secret."""
    asked = {"query": document, "variables": variables}
    answer = requests.post(told["url"] + "/graphql", json=asked, headers={"Authorization": "Bearer " + told[key]})
    assert told["secret"] not in answer.text, answer.text
    answer = answer.json()
    assert "errors" not in answer, answer
    return answer["data"]


def update(deployment):
    result = deployment.start_update().wait_for_result()
    assert result["status"] == "SUCCESS", result
    assert deployment.get_status().get_health() == "HEALTHY", deployment.get_status().get_heavy()


def answered(deployment):
    """The configuration of the endpoint that answers a query through the deployer."""
    answer = deployment.run_queries(QUERY)
    assert answer["success"], answer
    response = answer["responses"][0]["response"]
    assert response["received"] == QUERY[0]["q"], response
    return response["config"]


def connection():
    """Credentials, which whoever may not use them does not see."""
    make = """mutation($settings: JSON!) { createConnection(input: {id: "aws", type: "AWS", settings: $settings}) {
      connection { id settings } refusals { code field message } } }"""
    settings = {"region": "eu-west-1", "accessKeyId": told["key_id"], "secretAccessKey": told["secret"], "endpointUrl": told["cloud"]}
    wrong = ask(make, settings=dict(settings, region=7))["createConnection"]
    assert [one["field"] for one in wrong["refusals"]] == ["settings.region"], wrong
    made = ask(make, settings=settings)["createConnection"]
    assert made["refusals"] == [] and made["connection"]["settings"]["secretAccessKey"] == MASK, made
    check = 'mutation { checkConnection(id: "aws") { report { identity problems } failure { code message } refusals { code } } }'
    report = ask(check)["checkConnection"]
    assert report["failure"] is None and report["report"]["problems"] == [], report
    hidden = ask(check, key="outsider")["checkConnection"]
    assert [one["code"] for one in hidden["refusals"]] == ["NOT_FOUND"], hidden
    # Somewhere else they are sent only by who knows them.
    document = """mutation($settings: JSON!, $version: Long!) { updateConnection(input: {id: "aws", expectedVersion: $version, settings: $settings}) {
      refusals { code field } } }"""
    moved = dict(made["connection"]["settings"], endpointUrl="http://127.0.0.1:9")
    version = ask('{ connection(id: "aws") { version } }')["connection"]["version"]
    moved = ask(document, settings=moved, version=version)["updateConnection"]
    assert moved["refusals"], moved


def infrastructure():
    types = {one["type"]: one for one in ask("{ infrastructureTypes { type label connectionType oneEndpoint settingsSchema } }")["infrastructureTypes"]}
    kind = types["SAGEMAKER"]
    assert kind["connectionType"] == "AWS" and kind["oneEndpoint"] and kind["settingsSchema"]["properties"]["rollout"], kind
    infra = deployer.create_infra("cloud", "Test", "SAGEMAKER")
    settings = infra.get_settings()
    raw = settings.get_raw()
    raw["connection"] = "aws"
    raw["executionRoleArn"] = "arn:aws:iam::123456789012:role/sagemaker-execution"
    raw["baseImage"], raw["repository"] = told["base"], "team/services"
    raw["rollout"] = {"strategy": "SIDEWAYS"}
    refused(settings.save, "rollout.strategy")
    raw["rollout"] = {"strategy": "CANARY", "waitSeconds": 60}
    settings.save()
    assert infra.get_settings().get_raw()["rollout"]["strategy"] == "CANARY"


def deploy():
    connection()
    infrastructure()
    service = deployer.create_service("fraud")
    for version in ("v1", "v2"):
        with open(told["versions"][version], "rb") as archive:
            service.import_version(archive)
    deployment = deployer.create_deployment("fraud-cloud", "fraud", "cloud", "v1")
    # The platform serves one endpoint of two, so one must be chosen.
    result = deployment.start_update().wait_for_result()
    assert result["status"] == "ERROR" and "ENDPOINT" in json.dumps(result), result
    settings = deployment.get_settings()
    settings.get_raw()["endpointId"] = "score"
    settings.save()
    update(deployment)
    assert len(deployment.get_status().get_service_urls()) == 1
    paths = deployment.get_open_api().get()["paths"]
    assert len(paths) == 1 and "/invocations" in list(paths)[0], paths
    first = answered(deployment)
    assert deployment.run_test_queries()["success"]
    settings = deployment.get_settings()
    settings.set_single_version("v2")
    settings.save()
    update(deployment)
    assert answered(deployment) != first
    assert [one.status for one in deployment.list_updates()] == ["SUCCESS", "SUCCESS", "ERROR"]


def fails():
    """The platform says why; what was live is live again."""
    deployment = deployer.get_deployment("fraud-cloud")
    live = answered(deployment)
    settings = deployment.get_settings()
    settings.set_single_version("v1")
    settings.save()
    result = deployment.start_update().wait_for_result()
    assert result["status"] == "ERROR" and told["reason"] in json.dumps(result), result
    assert answered(deployment) == live


def delete():
    deployment = deployer.get_deployment("fraud-cloud")
    settings = deployment.get_settings()
    settings.set_enabled(False)
    settings.save()
    update = deployment.start_update().wait_for_result()
    assert update["status"] == "SUCCESS", update
    refused(lambda: deployment.run_queries(QUERY), "NOT_DEPLOYED")
    settings = deployment.get_settings()
    settings.set_enabled(True)
    settings.save()
    assert deployment.start_update().wait_for_result()["status"] == "SUCCESS"
    answered(deployment)
    deployment.delete(disable_first=True)
    deployer.get_infra("cloud").delete()
    deployer.get_service("fraud").delete()
    gone = ask('mutation { deleteConnection(id: "aws") { refusals { code message } } }')["deleteConnection"]
    assert gone["refusals"] == [], gone


{"deploy": deploy, "fails": fails, "delete": delete}[told["part"]]()
