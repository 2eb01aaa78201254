"""After a deployment: makes a group administrator of the project on the node, whatever its permissions were."""

GROUP = "operations"


def execute(automation_client, deployed_project_key, **kwargs):
    project = automation_client.get_project(deployed_project_key)
    permissions = project.get_permissions()
    items = permissions.setdefault("permissions", [])
    mine = next((item for item in items if item.get("group") == GROUP), None)
    if mine is not None and mine.get("admin"):
        return HookResult.success("%s is administrator already." % GROUP)
    if mine is None:
        mine = {"group": GROUP}
        items.append(mine)
    mine["admin"] = True
    project.set_permissions(permissions)
    return HookResult.success("%s is administrator now." % GROUP)
