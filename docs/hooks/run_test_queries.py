"""After a deployment of an API service: its version's own test queries must be answered; else the update ends as WARNING."""

ENDPOINT = None  # the only one


def execute(deployment_id, deployer_client, **kwargs):
    deployment = deployer_client.get_apideployer().get_deployment(deployment_id)
    answers = deployment.run_test_queries(endpoint_id=ENDPOINT)["responses"]
    failed = [answer for answer in answers if not answer["success"]]
    if failed:
        return HookResult.error("%d of %d test queries failed: %s" % (len(failed), len(answers), failed[0].get("response")))
    return HookResult.success("%d test queries were answered." % len(answers))
