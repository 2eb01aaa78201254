"""After a deployment: tells a channel how it went, and where."""

import json
import urllib.error
import urllib.request

CHANNEL = "https://chat.example.org/hooks/deployments"


def execute(requesting_user, deployment_id, deployment_report, deployer_client, automation_client, deployed_project_key, idempotency_key, **kwargs):
    light = deployer_client.get_projectdeployer().get_deployment(deployment_id).get_status().get_light()
    project = automation_client.get_project(deployed_project_key).get_summary()
    text = "%s: %s deployed %s to %s, where %s is live now." % (
        deployment_report["status"],
        requesting_user,
        light["deploymentBasicInfo"]["bundleId"],
        light["infraBasicInfo"]["id"],
        project["activeBundleState"]["bundleId"],
    )
    for message in deployment_report["messages"]:
        text += "\n- " + message
    request = urllib.request.Request(
        CHANNEL,
        json.dumps({"text": text}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
    )
    try:
        with urllib.request.urlopen(request, timeout=20):
            return HookResult.success("The channel knows.")
    except urllib.error.URLError as error:
        # What is deployed is deployed: a channel that is away is worth a warning.
        return HookResult.warning("The channel was not told: %s" % error)
