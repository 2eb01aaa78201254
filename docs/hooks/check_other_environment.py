"""Before a deployment to production: the same bundle must be deployed to the test environment, and be healthy there."""

OTHER = "churn-test"


def execute(deployment_id, deployer_client, **kwargs):
    deployer = deployer_client.get_projectdeployer()
    bundle = deployer.get_deployment(deployment_id).get_settings().bundle_id
    other = deployer.get_deployment(OTHER)
    there = other.get_settings().bundle_id
    if there != bundle:
        return HookResult.error("%s has %s, not %s. Deploy it there first." % (OTHER, there, bundle))
    health = other.get_status().get_health()
    if health != "HEALTHY":
        return HookResult.error("%s is %s. Look there first." % (OTHER, health))
    return HookResult.success("%s runs %s, and is healthy." % (OTHER, bundle))
