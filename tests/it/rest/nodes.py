"""Several nodes behind one infrastructure, through Dataiku's own client."""

import json
import sys

import dataikuapi
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
client = dataikuapi.DSSClient(told["url"], told["key"])
deployer = client.get_projectdeployer()
MASK = "**********"


def refused(action, error):
    try:
        action()
    except DataikuException as failure:
        assert str(failure).startswith(error + ":"), failure
        return str(failure)
    raise AssertionError("not refused")


# An infrastructure of several nodes is made as any, then saved.
infra = deployer.create_infra("several", "Test")
refused(lambda: infra.generate_personal_api_key("ci", "behind the balancer"), "NOT_MULTI_NODE")
settings = infra.get_settings()
raw = settings.get_raw()
assert raw["multiNode"] is False and raw["automationNodes"] == [], raw
settings.save()
raw["multiNode"] = True
raw["automationNodes"] = [
    {"id": name, "automationNodeUrl": url, "adminApiKey": told["node_key"]} for name, url in sorted(told["nodes"].items())
]
raw["bundleContainerSettings"]["remapping"]["connections"] = [
    {"source": "sql-dev", "target": "sql-prod"},
    {"source": "files-dev", "target": "files-prod"},
]
settings.save()

# Keys come masked, and a masked one that is saved back is kept.
settings = infra.get_settings()
raw = settings.get_raw()
nodes = raw["automationNodes"]
assert [node["id"] for node in nodes] == ["auto-1", "auto-2"], nodes
assert all(node["adminApiKey"] == MASK and node["automationNodeExternalUrl"] == "" for node in nodes), nodes
assert told["node_key"] not in json.dumps(raw)
raw["automationNodes"].reverse()
settings.save()
assert [node["id"] for node in infra.get_settings().get_raw()["automationNodes"]] == ["auto-2", "auto-1"]

# Another address needs the key itself, and the field is named.
settings = infra.get_settings()
moved = settings.get_raw()["automationNodes"][1]
moved["automationNodeUrl"] = "http://127.0.0.1:9"
message = refused(settings.save, "ADMIN_KEY_MASKED")
assert "automationNodes[1].adminApiKey" in message, message
settings = infra.get_settings()
settings.get_raw()["automationNodes"][0]["colour"] = "green"
message = refused(settings.save, "FIELD_INVALID")
assert "automationNodes[0].colour" in message, message
settings = infra.get_settings()
settings.get_raw()["automationNodes"][0]["id"] = "a/b"
message = refused(settings.save, "ID_INVALID")
assert "automationNodes[0].id" in message, message

# One update reaches both.
with open(told["bundles"]["v1"], "rb") as bundle:
    deployer.upload_bundle(bundle)
deployment = deployer.create_deployment("churn", "CHURN", "several", "v1")
deployment.start_update().wait_for_result()
assert deployment.get_status().get_health() == "HEALTHY", deployment.get_status().get_health_messages()
for url in told["nodes"].values():
    on_node = dataikuapi.DSSClient(url, told["node_key"])
    assert on_node.get_project("CHURN").get_settings().get_raw() is not None

# Test scenarios of one node, by its name.
assert deployment.get_testing_status(automation_node_id="auto-2").nb_total_ran_scenarios == 0
deployment.run_test_scenarios(automation_node_id="auto-2")
counts = {}
for name in sorted(told["nodes"]):
    counts[name] = deployment.get_testing_status(automation_node_id=name).nb_total_ran_scenarios
assert counts["auto-1"] == 0 and counts["auto-2"] > 0, counts
message = refused(lambda: deployment.get_testing_status(automation_node_id="auto-9"), "NODE_UNKNOWN")
assert "automationNodeId" in message, message

# A personal key that is good on both.
made = infra.generate_personal_api_key("ci", "behind the balancer", for_user="runner")
assert made.created_on_all_nodes and made.user == "runner" and made.error is None, made.get_raw()
assert [one["nodeId"] for one in made.nodes_and_keys] == ["auto-2", "auto-1"], made.get_raw()
assert made.nodes_where_user_does_not_exist == [] and made.nodes_where_user_is_disabled == []
for url in told["nodes"].values():
    assert dataikuapi.DSSClient(url, made.secret).get_auth_info()["associatedDSSUser"] == "runner"
made = infra.generate_personal_api_key("ci", "", for_user="nobody")
assert not made.created_on_all_nodes and made.secret is None, made.get_raw()
assert [one["nodeId"] for one in made.nodes_where_user_does_not_exist] == ["auto-2", "auto-1"], made.get_raw()
assert "does not know this user" in made.error, made.error
# Whoever may not see it is told what one is told of none.
outsider = dataikuapi.DSSClient(told["url"], told["outsider"]).get_projectdeployer()
hidden = refused(lambda: outsider.get_infra("several").generate_personal_api_key("ci", ""), "NOT_FOUND")
absent = refused(lambda: outsider.get_infra("another").generate_personal_api_key("ci", ""), "NOT_FOUND")
assert hidden == absent
