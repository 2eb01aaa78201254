"""The Project Deployer, as scripts written for Dataiku use it."""
import io
import json
import os
import sys
import tempfile

import dataikuapi
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
client = dataikuapi.DSSClient(told["url"] + "/", told["key"])
outsider = dataikuapi.DSSClient(told["url"], told["outsider"])
deployer = client.get_projectdeployer()


def refused(part, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except DataikuException as error:
        assert part in str(error), (part, str(error))
        assert not str(error).startswith("Unknown error"), str(error)
        return str(error)
    raise AssertionError("not refused: %s" % part)


# Stages, infrastructures
stages = deployer.list_stages()
assert [stage["id"] for stage in stages] == ["Development", "Test", "Production"], stages
assert all("desc" in stage for stage in stages)
assert deployer.list_infras() == []
infra = deployer.create_infra("prod", "Production", govern_check_policy="NO_CHECK")
assert infra.id == "prod"
refused("ID_NOT_AVAILABLE", deployer.create_infra, "prod", "Production")
refused("STAGE_UNKNOWN", deployer.create_infra, "other", "Nowhere")
refused("governCheckPolicy", deployer.create_infra, "other", "Test", govern_check_policy="MAYBE")
refused("FORBIDDEN", outsider.get_projectdeployer().create_infra, "other", "Test")
assert [one.id for one in deployer.list_infras()] == ["prod"]
light = deployer.list_infras(as_objects=False)[0]
assert light["infraBasicInfo"]["id"] == "prod" and light["infraBasicInfo"]["stage"] == "Production", light
assert light["infraBasicInfo"]["governCheckPolicy"] == "NO_CHECK", light
assert light["isAdmin"] is True and light["canDeploy"] is True and light["deployments"] == [], light
assert infra.get_status().get_deployments() == []

settings = infra.get_settings()
raw = settings.get_raw()
for key in ["id", "stage", "governCheckPolicy", "autoconfigureFromNodesDirectory", "nodeId", "automationNodeUrl",
            "automationNodeExternalUrl", "adminApiKey", "trustAllSSLCertificates", "permissions"]:
    assert key in raw, key
assert raw["adminApiKey"] == "" and raw["permissions"] == []
raw["automationNodeUrl"] = told["node"]
raw["adminApiKey"] = told["node_key"]
raw["bundleContainerSettings"]["remapping"]["connections"] = [
    {"source": "sql-dev", "target": "sql-prod"}, {"source": "files-dev", "target": "files-prod"}]
raw["deployAsUser"] = "deployer"
raw["aKeyOfOurs"] = {"deep": [1, None, "x"]}
settings.save()
# The same copy may be saved again.
raw["runAsScenarios"] = "runner"
settings.save()
again = infra.get_settings()
raw = again.get_raw()
assert raw["automationNodeUrl"].rstrip("/") == told["node"].rstrip("/"), raw
assert told["node_key"] not in json.dumps(raw) and raw["adminApiKey"], raw
assert raw["aKeyOfOurs"] == {"deep": [1, None, "x"]} and raw["runAsScenarios"] == "runner", raw
assert raw["bundleContainerSettings"]["remapping"]["connections"][0] == {"source": "sql-dev", "target": "sql-prod"}
# A masked key stays, unless it would go elsewhere.
again.save()
for key, value in [("automationNodeUrl", "https://elsewhere.example.org"), ("trustAllSSLCertificates", True)]:
    other = infra.get_settings()
    other.get_raw()[key] = value
    refused("adminApiKey", other.save)
assert infra.get_settings().get_raw()["trustAllSSLCertificates"] is False
for key, value in [("stage", 5), ("trustAllSSLCertificates", "yes"), ("permissions", {}), ("deployAsUser", 7)]:
    other = infra.get_settings()
    other.get_raw()[key] = value
    refused(key, other.save)
other = infra.get_settings()
other.get_raw()["permissions"] = [{"group": "nobody", "read": True, "deploy": False, "admin": False}]
refused("GROUP_UNKNOWN", other.save)
client.create_group("deployers")
other.get_raw()["permissions"] = [{"group": "deployers", "read": True, "deploy": True, "admin": False}]
other.save()
assert infra.get_settings().get_raw()["permissions"] == [
    {"group": "deployers", "read": True, "deploy": True, "admin": False}]

# Published projects, bundles
assert deployer.list_projects() == []
with open(told["bundles"]["v1"], "rb") as fp:
    deployer.upload_bundle(fp)
project = deployer.get_project("CHURN")
with open(told["bundles"]["v1"], "rb") as fp:
    refused("BUNDLE_EXISTS", deployer.upload_bundle, fp)
refused("BUNDLE", deployer.upload_bundle, io.BytesIO(b"no zip"))
refused("BUNDLE", deployer.upload_bundle, io.BytesIO(b""))
named = deployer.create_project("OTHER")
assert named.id == "OTHER"
refused("ID_NOT_AVAILABLE", deployer.create_project, "OTHER")
with open(told["bundles"]["v1"], "rb") as fp:
    deployer.upload_bundle(fp, project_key="OTHER")
with open(told["bundles"]["v2"], "rb") as fp:
    deployer.upload_bundle(fp)
assert sorted(one.id for one in deployer.list_projects()) == ["CHURN", "OTHER"]
status = project.get_status()
bundles = status.get_bundles()
assert [bundle["id"] for bundle in bundles] == ["v1", "v2"], bundles
assert bundles[0]["publishedBy"] == "admin" and bundles[0]["publishedOn"] > 1500000000000, bundles
assert bundles[0]["designNodeInfo"]["projectKey"], bundles
assert status.get_infras() == [] and status.get_deployments() == []
raw = status.get_raw()
assert raw["projectBasicInfo"]["id"] == "CHURN" and raw["isAdmin"] and raw["canDeploy"] and raw["canWrite"], raw
settings = project.get_settings()
raw = settings.get_raw()
assert raw["id"] == "CHURN" and raw["owner"] == "admin" and raw["permissions"] == [] and "basicImageInfo" in raw, raw
raw["name"] = "Churn, all of it"
raw["permissions"] = [{"group": "deployers", "read": True, "write": True, "deploy": True, "admin": False}]
raw["basicImageInfo"] = {"color": "#123456"}
settings.save()
raw = project.get_settings().get_raw()
assert raw["name"] == "Churn, all of it" and raw["basicImageInfo"] == {"color": "#123456"}, raw
assert raw["permissions"][0]["write"] is True, raw
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "b.zip")
    project.download_bundle_to_file("v1", path)
    with open(path, "rb") as got, open(told["bundles"]["v1"], "rb") as sent:
        assert got.read() == sent.read()
refused("NOT_FOUND", project.get_bundle_stream, "v9")
project.get_project_standards_report("v1", as_type="dict")
refused("NOT_FOUND", project.get_project_standards_report, "v9")

# Deployments
refused("infraId", deployer.create_deployment, "d", "CHURN", "nowhere", "v1")
refused("publishedProjectKey", deployer.create_deployment, "d", "NONE", "prod", "v1")
refused("bundleId", deployer.create_deployment, "d", "CHURN", "prod", "v9")
deployment = deployer.create_deployment("churn-prod", "CHURN", "prod", "v1")
refused("ID_NOT_AVAILABLE", deployer.create_deployment, "churn-prod", "OTHER", "prod", "v1")
assert [one.id for one in deployer.list_deployments()] == ["churn-prod"]
assert [one.id for one in infra.get_status().get_deployments()] == ["churn-prod"]
assert [one.id for one in project.get_status().get_deployments("prod")] == ["churn-prod"]
assert project.get_status().get_deployments("elsewhere") == []
assert project.get_status().get_infras()[0]["id"] == "prod"
status = deployment.get_status()
light = status.get_light()
assert light["neverEverDeployed"] is True, light
assert light["deploymentBasicInfo"]["bundleId"] == "v1" and light["infraBasicInfo"]["id"] == "prod", light
assert light["projectBasicInfo"]["id"] == "CHURN" and len(light["packages"]) == 2, light
assert status.get_health() == "UNKNOWN", status.get_heavy()
assert deployment.list_updates() == []
refused("NOT_FOUND", deployment.get_update)
refused("NOT_FOUND", deployment.get_update, 5)

settings = deployment.get_settings()
raw = settings.get_raw()
assert raw["bundleContainerSettings"]["remapping"]["connections"][1]["target"] == "files-prod", raw
assert raw["localVariables"] == {} and raw["disableAutomaticTriggers"] is False, raw
assert settings.published_project_key == "CHURN" and settings.bundle_id == "v1"
raw["tags"] = ["nightly"]
raw["localVariables"] = {"region": "eu"}
raw["scenariosToActivate"] = {"DAILY": True}
raw["ours"] = "kept"
settings.save()
raw = deployment.get_settings().get_raw()
assert raw["tags"] == ["nightly"] and raw["localVariables"] == {"region": "eu"} and raw["ours"] == "kept", raw
assert raw["scenariosToActivate"] == {"DAILY": True}, raw
for key, value in [("infraId", "other"), ("publishedProjectKey", "OTHER"), ("bundleId", "v9"), ("bundleId", 5),
                   ("scenariosToActivate", {"DAILY": "on"}), ("tags", "x"), ("localVariables", [])]:
    other = deployment.get_settings()
    other.get_raw()[key] = value
    refused(key, other.save)

# Updates
future = deployment.start_update()
assert future.job_id and future.state["hasResult"] is False
result = future.wait_for_result()
assert result["status"] == "SUCCESS" and result["error"] is False, result
assert future.get_result() == result
fresh = client.get_future(future.job_id)
assert fresh.get_result() == result and client.get_future(future.job_id).has_result()
assert client.get_future(future.job_id).peek_state().get("result") is None
future.abort()
refused("NOT_FOUND", client.get_future("1").get_state)
refused("NOT_FOUND", client.get_future("lost").wait_for_result)
assert client.list_futures(all_users=True) == [] and client.list_running_scenarios() == []
status = deployment.get_status()
assert status.get_health() == "HEALTHY", status.get_heavy()
assert status.get_health_messages()["error"] is False
assert status.get_light()["neverEverDeployed"] is False
assert status.get_heavy()["monitoring"]["hasScenarios"] is True, status.get_heavy()
updates = deployment.list_updates()
assert len(updates) == 1 and updates[0].status == "SUCCESS" and updates[0].type == "UPDATE", updates
full = updates[0].get_full_update()
assert full.start_time == updates[0].start_time and full.end_time >= full.start_time, full.get_raw()
assert full.requester == "admin" and full.status == "SUCCESS" and isinstance(full.logs, list), full.get_raw()
assert deployment.get_update().get_raw() == full.get_raw()
assert deployment.get_update(full.start_time).get_raw() == full.get_raw()
settings = deployment.get_settings()
settings.bundle_id = "v2"
settings.save(ignore_warnings=True)
assert deployment.get_status().get_health() == "OUT_OF_SYNC"
assert deployment.start_update().wait_for_result()["status"] == "SUCCESS"
assert len(deployment.list_updates()) == 2
governance = deployment.get_governance_status()
assert governance["messages"] == [], governance
testing = deployment.get_testing_status()
assert isinstance(testing.nb_total_ran_scenarios, int) and isinstance(testing.nb_scenarios_per_outcome, dict)
ran = deployment.run_test_scenarios()
assert isinstance(ran.nb_total_ran_scenarios, int)

# Failure is an answer, too
settings = deployment.get_settings()
settings.get_raw()["bundleContainerSettings"]["remapping"]["connections"] = []
settings.save()
result = deployment.start_update().wait_for_result()
assert result["status"] == "ERROR" and result["error"] is True and result["maxSeverity"] == "ERROR", result
assert "CONNECTION_MISSING" in json.dumps(result), result
assert deployment.get_update().status == "ERROR" and "CONNECTION_MISSING" in "\n".join(deployment.get_update().logs)
assert deployment.get_status().get_health() == "ERROR"

# Nobody else sees any of it
theirs = outsider.get_projectdeployer()
assert theirs.list_infras() == [] and theirs.list_projects() == [] and theirs.list_deployments() == []
for call in ["get_status", "get_settings", "list_updates", "start_update", "delete", "get_update",
             "get_governance_status", "get_testing_status", "run_test_scenarios"]:
    here = refused("NOT_FOUND", getattr(theirs.get_deployment("churn-prod"), call))
    assert here == refused("NOT_FOUND", getattr(theirs.get_deployment("absent"), call)), call
refused("NOT_FOUND", outsider.get_future(future.job_id).get_state)
refused("NOT_FOUND", outsider.get_future(future.job_id).abort)

# Taking it all away again
refused("IN_USE", infra.delete)
refused("IN_USE", project.delete)
refused("IN_USE", project.delete_bundle, "v2")
deployment.delete()
refused("NOT_FOUND", deployment.get_status)
project.delete_bundle("v2")
assert [bundle["id"] for bundle in project.get_status().get_bundles()] == ["v1"]
project.delete()
infra.delete()
assert deployer.list_infras() == [] and [one.id for one in deployer.list_projects()] == ["OTHER"]
client.log_custom_audit("ci-run", {"pipeline": 7})
refused("FORBIDDEN", outsider.log_custom_audit, "ci-run")
print("fine")
