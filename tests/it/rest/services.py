"""The API Deployer, through Dataiku's own client: a service on two API nodes, from its upload to its deletion."""

import json
import sys
import tempfile
import threading
import time

import dataikuapi
import requests
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
client = dataikuapi.DSSClient(told["url"], told["key"])
deployer = client.get_apideployer()
MASK = "**********"


def refused(action, error):
    try:
        action()
    except DataikuException as failure:
        assert str(failure).startswith(error + ":"), failure
        return str(failure)
    raise AssertionError("not refused")


def ask(document, **variables):
    """Asks GraphQL."""
    asked = {"query": document, "variables": variables}
    answer = requests.post(told["url"] + "/graphql", json=asked, headers={"Authorization": "Bearer " + told["key"]}).json()
    assert "errors" not in answer, answer
    return answer["data"]


def ended(update):
    """Waits for an update's end."""
    deadline = time.monotonic() + 60
    while True:
        status = ask("query($id: ID!) { update(id: $id) { status } }", id=update)["update"]["status"]
        if status not in ("QUEUED", "RUNNING"):
            assert status == "SUCCEEDED", status
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.1)


def update(deployment):
    future = deployment.start_update()
    result = future.wait_for_result()
    assert result["status"] == "SUCCESS", result
    return result


def update_under_queries(deployment):
    """An update, while queries go through the deployer as fast as they are answered: none may fail."""
    done, wrong, asked = threading.Event(), [], []

    def load():
        mine = dataikuapi.DSSClient(told["url"], told["key"]).get_apideployer().get_deployment("fraud-test")
        while not done.is_set():
            answer = mine.run_queries([{"q": {"features": {"a": 1}}}])
            asked.append(answer["success"])
            if not answer["success"]:
                wrong.append(answer)

    callers = [threading.Thread(target=load) for _ in range(3)]
    for caller in callers:
        caller.start()
    try:
        update(deployment)
    finally:
        done.set()
        for caller in callers:
            caller.join()
    assert len(asked) > 10 and not wrong, (len(asked), wrong[:3])


# Stages are a list of their own, and infrastructures of it are not those of projects.
assert [stage["id"] for stage in deployer.list_stages()] == ["Development", "Test", "Production"]
refused(lambda: deployer.create_infra("x", "Test", "AUTOMATION_NODE"), "FIELD_INVALID")
infra = deployer.create_infra("nodes", "Test", "STATIC")
assert infra.id() == "nodes" and str(infra.id) == "nodes"
assert [one.id() for one in deployer.list_infras()] == ["nodes"]
assert client.get_projectdeployer().list_infras() == []
refused(client.get_projectdeployer().get_infra("nodes").get_settings, "NOT_FOUND")

# Its settings are those of the client's own methods; keys come masked, and a masked one that is saved back is kept.
settings = infra.get_settings()
assert settings.get_type() == "STATIC"
assert settings.get_raw()["apiNodes"] == [], settings.get_raw()
for url in told["nodes"]:
    settings.add_apinode(url, told["node_key"])
settings.get_raw()["permissions"] = [{"group": "askers", "read": True}]
settings.get_raw()["delivery"] = {"mode": "SHARED_FOLDER", "folder": "models", "nodePath": told["folder"]}
settings.save()
raw = infra.get_settings().get_raw()
assert [node["url"] for node in raw["apiNodes"]] == told["nodes"], raw
assert all(node["adminAPIKey"] == MASK for node in raw["apiNodes"]), raw
settings = infra.get_settings()
settings.get_raw()["apiNodes"].reverse()
settings.save()
settings = infra.get_settings()
settings.get_raw()["apiNodes"].reverse()
settings.save()
# Another address needs the key itself; what is wrong is named by its path.
settings = infra.get_settings()
settings.get_raw()["apiNodes"][1]["url"] = "http://127.0.0.1:9"
assert "apiNodes[1].adminAPIKey" in refused(settings.save, "ADMIN_KEY_MASKED")
settings = infra.get_settings()
settings.get_raw()["apiNodes"][0]["url"] = 3
assert "apiNodes[0].url" in refused(settings.save, "SETTING_INVALID")
# A save that leaves everything out keeps everything.
client._perform_empty("PUT", "/api-deployer/infras/nodes/settings", body={})
raw = infra.get_settings().get_raw()
assert [node["adminAPIKey"] for node in raw["apiNodes"]] == [MASK, MASK] and raw["delivery"]["folder"] == "models", raw
settings = infra.get_settings()
settings.get_raw()["adminAPIKey"] = "x"
refused(settings.save, "FIELD_INVALID")

# Services and versions. Whoever may not publish one is told so.
outsider = dataikuapi.DSSClient(told["url"], told["outsider"]).get_apideployer()
refused(lambda: outsider.create_service("fraud"), "FORBIDDEN")
service = deployer.create_service("fraud")
assert [one.id() for one in deployer.list_services()] == ["fraud"]
assert client.get_projectdeployer().list_projects() == []
assert outsider.list_services() == []
for version in ("v1", "v2"):
    with open(told["versions"][version], "rb") as archive:
        service.import_version(archive)
with open(told["versions"]["v1"], "rb") as archive:
    refused(lambda: service.import_version(archive), "BUNDLE_EXISTS")
with open(told["versions"]["other"], "rb") as archive:
    refused(lambda: service.import_version(archive), "SERVICE_ID_DIFFERS")
assert [one["id"] for one in service.get_status().get_versions()] == ["v1", "v2"]
with tempfile.NamedTemporaryFile() as file:
    service.download_version_to_file("v1", file.name)
    assert open(file.name, "rb").read() == open(told["versions"]["v1"], "rb").read()
with service.get_version_stream("v2") as stream:
    assert b"".join(stream.iter_content(10000)) == open(told["versions"]["v2"], "rb").read()
answer = requests.get(told["url"] + "/services/fraud/versions/v1", headers={"Authorization": "Bearer " + told["key"]})
assert answer.content == open(told["versions"]["v1"], "rb").read() and "attachment" in answer.headers["Content-Disposition"]
settings = service.get_settings()
settings.get_raw()["permissions"] = [{"group": "deployers", "deploy": True}, {"group": "askers", "read": True}]
settings.save()
permissions = service.get_settings().get_raw()["permissions"]
assert permissions[0] == {"group": "deployers", "read": False, "write": False, "deploy": True, "admin": False}, permissions

# A deployment; nothing is deployed by making it.
refused(lambda: deployer.create_deployment("fraud-test", "fraud", "nodes", "v9"), "BUNDLE_UNKNOWN")
refused(lambda: deployer.create_deployment("fraud-test", "fraud", "elsewhere", "v1"), "NOT_FOUND")
rights = [{"group": "askers", "queryThroughDeployer": True}, {"group": "others", "queryThroughDeployer": False}]
deployment = deployer.create_deployment(
    "fraud-test", "fraud", "nodes", "v1", endpoint_id="score", authorizations_to_query_through_deployer=rights
)
assert [one.id() for one in deployer.list_deployments()] == ["fraud-test"]
assert client.get_projectdeployer().list_deployments() == []
status = deployment.get_status()
assert status.get_health() == "UNKNOWN", status.get_heavy()
light = status.get_light()
assert light["deploymentBasicInfo"]["enabled"] is True and light["neverEverDeployed"] is True, light
refused(deployment.get_open_api, "NOT_FOUND")
refused(lambda: deployment.run_queries([{"q": {"features": {}}}]), "NOT_DEPLOYED")
raw = deployment.get_settings().get_raw()
assert raw["generationsMapping"] == {"mode": "SINGLE_GENERATION", "generation": "v1"}, raw
assert raw["endpointId"] is None, "these nodes serve all endpoints, so the client's is ignored"
granted = raw["authorizationsToQueryThroughDeployer"]
assert granted == [{"group": "askers", "queryThroughDeployer": True}], granted

update(deployment)
status = deployment.get_status()
assert status.get_health() == "HEALTHY", status.get_health_messages()
urls = status.get_service_urls()
assert urls == ["%s/public/api/v1/fraud" % url for url in told["nodes"]], urls
assert "/score/predict" in deployment.get_open_api().get()["paths"]
history = deployment.list_updates()
assert [one.status for one in history] == ["SUCCESS"] and deployment.get_update().requester == "admin"
assert history[0].get_full_update().status == "SUCCESS"
assert any("v1" in line for line in history[0].get_full_update().logs), history[0].get_full_update().logs
assert [one.id() for one in infra.get_status().get_deployments()] == ["fraud-test"]
assert [one.id() for one in service.get_status().get_deployments("nodes")] == ["fraud-test"]
assert deployment.get_governance_status()["messages"] == []


def generations():
    """What each node answers with, asked as its callers ask."""
    found = set()
    for url in told["nodes"]:
        node = dataikuapi.APINodeClient(url, "fraud")
        for n in range(30):
            found.add(node.predict_record("score", {"n": n})["result"]["generation"])
    return found


assert generations() == {"v1"}

# Queries through the deployer: for those who may deploy, and those who were let.
answer = deployment.run_queries([{"q": {"features": {"a": 1}}}])
assert answer["success"] and answer["responses"][0]["response"]["result"]["generation"] == "v1", answer
assert deployment.run_test_queries(test_queries=[{"q": {"features": {"a": 1}}}])["success"]
assert deployment.run_test_queries()["responses"][0]["q"] == {"features": {"a": 2}}
refused(lambda: deployment.run_queries([{"q": {}}], endpoint_id="nothing"), "ENDPOINT_UNKNOWN")
asker = dataikuapi.DSSClient(told["url"], told["asker"]).get_apideployer().get_deployment("fraud-test")
assert asker.run_queries([{"q": {"features": {"a": 1}}}])["success"]
refused(asker.start_update, "FORBIDDEN")
refused(outsider.get_deployment("fraud-test").get_settings, "NOT_FOUND")

# Queries are logged where the deployment says, those through the deployer, too. The key is write-only.
settings = deployment.get_settings()
settings.get_raw()["auditing"] = {"type": "EVENT_SERVER", "url": told["events"], "key": "an-events-key"}
settings.save()
assert deployment.get_settings().get_raw()["auditing"]["key"] == MASK
update(deployment)
assert deployment.run_queries([{"q": {"features": {"a": 1}}}])["success"]
settings = deployment.get_settings()
settings.get_raw()["auditing"] = {}
settings.save()
update(deployment)

# Another version; a setting reaches the nodes with an update alone.
settings = deployment.get_settings()
settings.set_single_version("v2")
settings.save()
assert deployment.get_status().get_health() == "OUT_OF_SYNC"
assert generations() == {"v1"}
update(deployment)
assert generations() == {"v2"} and deployment.get_status().get_health() == "HEALTHY"

# Several versions with shares.
settings = deployment.get_settings()
entries = [{"generation": "v1", "proba": 0.5}, {"generation": "v2", "proba": 0.5}]
settings.get_raw()["generationsMapping"] = {"mode": "MULTI_GENERATION", "entries": entries}
settings.save()
assert deployment.get_settings().get_raw()["generationsMapping"]["entries"] == entries
update(deployment)
assert generations() == {"v1", "v2"}
settings = deployment.get_settings()
settings.get_raw()["generationsMapping"]["entries"][0]["proba"] = 0.4
assert "generationsMapping.entries" in refused(settings.save, "VERSION_SHARES_INVALID")

# Who may call, in place of what the versions say: keys are write-only.
settings = deployment.get_settings()
settings.set_single_version("v2")
settings.get_raw()["authorization"] = {"method": "API_KEYS", "keys": ["a-callers-key"]}
settings.save()
raw = deployment.get_settings().get_raw()
assert raw["authorization"] == {"method": "API_KEYS", "keys": [MASK]}, raw["authorization"]
settings = deployment.get_settings()
settings.save()
# Nothing of it is there before the update: neither on the nodes, nor for queries through the deployer.
assert deployment.run_queries([{"q": {"features": {"a": 1}}}])["success"]
assert deployment.get_status().get_health() == "OUT_OF_SYNC"
for wrong, where in (
    ({"method": "OAUTH2", "jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "authorization.jwks.keys[0]"),
    ({"method": "OAUTH2", "jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "p": "UFJJVlA"}]}}, "keys[0].p"),
    ({"method": "API_KEYS"}, "authorization.keys"),
    ({"method": "NOBODY"}, "authorization.method"),
):
    settings = deployment.get_settings()
    settings.get_raw()["authorization"] = wrong
    assert where in refused(settings.save, "SETTING_INVALID"), wrong
update_under_queries(deployment)
# While new keys wait for their update, the old ones serve on.
settings = deployment.get_settings()
settings.get_raw()["authorization"] = {"method": "API_KEYS", "keys": ["another-key"]}
settings.save()
assert deployment.run_queries([{"q": {"features": {"a": 1}}}])["success"]
heavy = deployment.get_status()
assert heavy.get_health() == "OUT_OF_SYNC", heavy.get_heavy()
assert "DRIFT" not in str(heavy.get_health_messages()), heavy.get_health_messages()
update_under_queries(deployment)
settings = deployment.get_settings()
settings.get_raw()["authorization"] = {"method": "API_KEYS", "keys": ["a-callers-key"]}
settings.save()
update(deployment)
try:
    dataikuapi.APINodeClient(told["nodes"][0], "fraud").predict_record("score", {"a": 1})
    raise AssertionError("answered without a key")
except DataikuException:
    pass
mine = dataikuapi.APINodeClient(told["nodes"][0], "fraud", "a-callers-key")
assert mine.predict_record("score", {"a": 1})["result"]["generation"].startswith("v2")
assert deployment.run_queries([{"q": {"features": {"a": 1}}}])["success"]

# Back to what was live before the keys, by a restore; and one version that is named is deployed alone.
settings = deployment.get_settings()
settings.get_raw()["generationsMapping"] = {"mode": "MULTI_GENERATION", "entries": entries}
settings.get_raw()["authorization"] = {}
settings.save()
update_under_queries(deployment)
assert generations() == {"v1", "v2"}
# The keys before are gone by now: without them a restore would let in everybody.
document = 'mutation { restoreDeployment(deploymentId: "fraud-test") { update { id } refusals { code field message } } }'
refusals = ask(document)["restoreDeployment"]["refusals"]
assert [one["code"] for one in refusals] == ["RESTORE_KEYS_GONE"] and "authorization.keys" in refusals[0]["message"], refusals
both = ask("{ updates(filter: {deployment: \"fraud-test\"}, first: 1) { nodes { id } } }")["updates"]["nodes"][0]["id"]
started = ask('mutation { startUpdate(deploymentId: "fraud-test", bundleId: "v2") { update { id } refusals { code } } }')
ended(started["startUpdate"]["update"]["id"])
assert generations() == {"v2"}
assert deployment.get_settings().get_raw()["generationsMapping"]["mode"] == "SINGLE_GENERATION"
document = 'mutation($id: ID!) { restoreDeployment(deploymentId: "fraud-test", updateId: $id) { update { id } refusals { code message } } }'
# Its queries were logged as the versions say; what the infrastructure says since does not come on top.
place = infra.get_settings()
place.get_raw()["auditing"] = {"type": "LOG_FILES"}
place.save()
restored = ask(document, id=both)["restoreDeployment"]
assert restored["refusals"] == [], restored
ended(restored["update"]["id"])
assert generations() == {"v1", "v2"}
assert deployment.get_settings().get_raw()["auditing"] == {"type": "AS_PACKAGED"}
assert deployment.get_settings().get_raw()["generationsMapping"]["entries"] == entries
assert deployment.get_status().get_health() == "HEALTHY", deployment.get_status().get_health_messages()
tested = ask('{ testService(deploymentId: "fraud-test", endpoint: "score") { queries answers { status } refusals { code } } }')
assert tested["testService"]["answers"][0]["status"] == 200, tested
seen = ask('{ deployment(id: "fraud-test") { service { openApi } } }')
assert "/score/predict" in seen["deployment"]["service"]["openApi"]["paths"], seen
settings = deployment.get_settings()
settings.set_single_version("v2")
settings.get_raw()["authorization"] = {"method": "API_KEYS", "keys": ["a-callers-key"]}
settings.save()
update(deployment)

# A version that is deployed stays; one that is not goes.
refused(lambda: service.delete_version("v2"), "IN_USE")
refused(service.delete, "IN_USE")
refused(infra.delete, "IN_USE")
service.delete_version("v1")

# Switched off by a setting and an update, and on again.
settings = deployment.get_settings()
settings.set_enabled(False)
settings.save()
assert deployment.get_status().get_light()["deploymentBasicInfo"]["enabled"] is False
update(deployment)
try:
    mine.predict_record("score", {"a": 1})
    raise AssertionError("answered while it is off")
except DataikuException:
    pass
settings = deployment.get_settings()
settings.set_enabled(True)
settings.save()
update(deployment)
assert mine.predict_record("score", {"a": 1})["result"]

# Deleting takes the service down, whatever it was set to, and then nothing holds the rest.
try:
    deployment.delete()
    raise AssertionError("deleted while it is enabled")
except Exception as failure:
    assert "must be disabled first" in str(failure), failure
deployment.delete(disable_first=True)
for url in told["nodes"]:
    assert dataikuapi.APINodeAdminClient(url, told["node_key"]).list_services() == []
assert deployer.list_deployments() == []

# What can't be taken away keeps the deployment, unless it is to go all the same.
again = deployer.create_deployment("fraud-again", "fraud", "nodes", "v2")
update(again)
place = infra.get_settings()
for node in place.get_raw()["apiNodes"]:
    node["adminAPIKey"] = "a-key-that-is-none"
place.save()
refused(lambda: again.delete(disable_first=True), "PRE_DELETE_FAILED")
assert [one.id() for one in deployer.list_deployments()] == ["fraud-again"]
again.delete(ignore_pre_delete_errors=True)
assert deployer.list_deployments() == []
service.delete()
infra.delete()
assert deployer.list_services() == [] and deployer.list_infras() == []
