"""A service on a cloud, through Dataiku's own client; `part` says how far: `deploy`, `fails`, `delete`."""

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


def untold(text):
    """What anybody is told holds no secret."""
    assert all(secret not in text for secret in told["secrets"]), text
    return text


def refused(action, *words):
    try:
        action()
    except DataikuException as failure:
        assert all(word in untold(str(failure)) for word in words), failure
        return
    raise AssertionError("not refused: %s" % (words,))


def ask(document, key="key", **variables):
    """Asks GraphQL."""
    asked = {"query": document, "variables": variables}
    answer = requests.post(told["url"] + "/graphql", json=asked, headers={"Authorization": "Bearer " + told[key]})
    answer = json.loads(untold(answer.text))
    assert "errors" not in answer, answer
    return answer["data"]


def change(of, **values):
    settings = of.get_settings()
    settings.get_raw().update(values)
    settings.save()


def started(deployment, status="SUCCESS"):
    result = deployment.start_update().wait_for_result()
    assert result["status"] == status, result
    return untold(json.dumps(result))


def updated(deployment):
    started(deployment)
    status = deployment.get_status()
    assert status.get_health() == "HEALTHY", status.get_heavy()


def queried(deployment):
    answer = deployment.run_queries(QUERY)
    assert answer["success"], answer


def shares(version):
    return {"mode": "SINGLE_GENERATION", "generation": version}


def connection():
    """Credentials, which whoever may not use them does not see."""
    make = """mutation($type: String!, $settings: JSON!) { createConnection(input: {id: "cloud", type: $type, settings: $settings}) {
      connection { id settings } refusals { code field message } } }"""
    wrong = ask(make, type=told["connectionType"], settings={"nothing": 1})["createConnection"]
    assert [one["field"] for one in wrong["refusals"]] == ["settings.nothing"], wrong
    made = ask(make, type=told["connectionType"], settings=told["connection"])["createConnection"]
    assert made["refusals"] == [] and MASK in made["connection"]["settings"].values(), made
    check = 'mutation { checkConnection(id: "cloud") { report { identity problems } failure { code message } refusals { code } } }'
    report = ask(check)["checkConnection"]
    assert report["failure"] is None and report["report"]["problems"] == [], report
    hidden = ask(check, key="outsider")["checkConnection"]
    assert [one["code"] for one in hidden["refusals"]] == ["NOT_FOUND"], hidden
    # Credentials are sent somewhere else only by who knows them.
    document = """mutation($settings: JSON!, $version: Long!) { updateConnection(input: {id: "cloud", expectedVersion: $version, settings: $settings}) {
      refusals { code field } } }"""
    moved = dict(made["connection"]["settings"], **{told["connectionPlace"]: "http://127.0.0.1:9"})
    version = ask('{ connection(id: "cloud") { version } }')["connection"]["version"]
    refusals = ask(document, settings=moved, version=version)["updateConnection"]["refusals"]
    assert refusals and all(one["code"] == "ADMIN_KEY_MASKED" for one in refusals), refusals


def infrastructure():
    types = ask("{ infrastructureTypes { type label connectionType oneEndpoint settingsSchema } }")["infrastructureTypes"]
    kind = {one["type"]: one for one in types}[told["kind"]]
    assert kind["connectionType"] == told["connectionType"] and kind["oneEndpoint"], kind
    assert set(told["settings"]) <= set(kind["settingsSchema"]["properties"]), kind
    infra = deployer.create_infra("cloud", "Test", told["kind"])
    path, wrong = told["wrong"]
    refused(lambda: change(infra, **wrong), path)
    change(infra, connection="cloud", **told["settings"])
    raw = infra.get_settings().get_raw()
    assert raw["connection"] == "cloud" and all(raw[name] == value for name, value in told["settings"].items()), raw


def deploy():
    connection()
    infrastructure()
    service = deployer.create_service("fraud")
    for version in ("v1", "v2"):
        with open(told["versions"][version], "rb") as archive:
            service.import_version(archive)
    deployment = deployer.create_deployment("fraud-cloud", "fraud", "cloud", "v1")
    # The platform serves one endpoint of two, so one must be chosen.
    assert "ENDPOINT" in started(deployment, "ERROR")
    change(deployment, endpointId="score", **told.get("deployment", {}))
    keys = {"method": "API_KEYS", "keys": ["a-callers-key"]}
    refused(lambda: change(deployment, authorization=keys), "AUTHORIZATION_UNSUPPORTED")
    updated(deployment)
    (url,) = deployment.get_status().get_service_urls()
    assert url.split("#")[0].endswith(told["calledAt"]), url
    described = deployment.get_open_api().get()
    called = [server["url"] + path for server in described["servers"] for path in described["paths"]]
    assert len(called) == 1 and told["calledAt"] in called[0], called
    queried(deployment)
    assert deployment.run_test_queries()["success"]
    # In whose account it lies does not change under it.
    infra = deployer.get_infra("cloud")
    refused(lambda: change(infra, connection=None), "SETTING_FIXED")
    change(deployment, generationsMapping=shares("v2"))
    assert deployment.get_status().get_health() == "OUT_OF_SYNC"
    updated(deployment)
    queried(deployment)
    assert [one.status for one in deployment.list_updates()] == ["SUCCESS", "SUCCESS", "ERROR"]


def fails():
    """The platform says why; what was live is live again."""
    deployment = deployer.get_deployment("fraud-cloud")
    change(deployment, generationsMapping=shares("v1"))
    assert told["reason"] in started(deployment, "ERROR")
    assert deployment.get_status().get_health() == "ERROR"
    queried(deployment)
    updated(deployment)


def delete():
    deployment = deployer.get_deployment("fraud-cloud")
    change(deployment, enabled=False)
    started(deployment)
    refused(lambda: deployment.run_queries(QUERY), "NOT_DEPLOYED")
    change(deployment, enabled=True)
    updated(deployment)
    queried(deployment)
    deployment.delete(disable_first=True)
    deployer.get_infra("cloud").delete()
    deployer.get_service("fraud").delete()
    gone = ask('mutation { deleteConnection(id: "cloud") { refusals { code message } } }')["deleteConnection"]
    assert gone["refusals"] == [], gone


{"deploy": deploy, "fails": fails, "delete": delete}[told["part"]]()
