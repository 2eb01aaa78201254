"""After a deployment: runs a scenario of the project on the node, and warns if it does not succeed."""

SCENARIO = "DAILY"


def execute(automation_client, deployed_project_key, **kwargs):
    project = automation_client.get_project(deployed_project_key)
    run = project.get_scenario(SCENARIO).run_and_wait(no_fail=True)
    if run.outcome == "SUCCESS":
        return HookResult.success("%s succeeded." % SCENARIO)
    return HookResult.error("%s ended as %s." % (SCENARIO, run.outcome))
