"""Users, groups, keys, and who asks, as scripts written for Dataiku use them."""
import json
import sys

import dataikuapi
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
client = dataikuapi.DSSClient(told["url"], told["key"])
outsider = dataikuapi.DSSClient(told["url"], told["outsider"])


def refused(part, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except DataikuException as error:
        assert part in str(error), (part, str(error))
        return
    raise AssertionError("not refused: %s" % part)


info = client.get_auth_info()
assert info["authIdentifier"] == "admin" and "administrators" in info["groups"], info
assert client.get_auth_info(with_secrets=True)["secrets"] == []
instance = client.get_instance_info()
assert instance.node_type == "DEPLOYER" and instance.node_id and instance.node_name
refused("UNAUTHENTICATED", dataikuapi.DSSClient(told["url"], "nothing").get_auth_info)
bearer = dataikuapi.DSSClient(told["url"], jwt_bearer_token=told["key"])
assert bearer.get_auth_info()["authIdentifier"] == "admin"

# Groups
group = client.create_group("team", description="All of us")
assert group.get_definition()["description"] == "All of us"
definition = group.get_definition()
definition["description"] = "Some of us"
group.set_definition(definition)
assert client.get_group("team").get_definition()["description"] == "Some of us"
definition["admin"] = True
refused("admin", group.set_definition, definition)
assert {"administrators", "team"} <= {one["name"] for one in client.list_groups()}
assert "team" in [one.name for one in outsider.list_groups_info()]
refused("FORBIDDEN", outsider.list_groups)
refused("FORBIDDEN", outsider.create_group, "mine")

# Users
user = client.create_user("ann", "a password", display_name="Ann", groups=["team"], email="ann@example.org")
assert user.login == "ann"
refused("ID_NOT_AVAILABLE", client.create_user, "ann", "p")
refused("GROUP_UNKNOWN", client.create_user, "bob", "p", groups=["none"])
settings = user.get_settings()
assert settings.get_raw()["groups"] == ["team"] and settings.enabled is True and settings.creation_date, settings.get_raw()
settings.get_raw()["displayName"] = "Ann B."
settings.save()
info = user.get_info()
assert (info.login, info.display_name, info.groups, info.email, info.enabled) == (
    "ann", "Ann B.", ["team"], "ann@example.org", True)
settings.add_secret("name", "value")
refused("secrets", settings.save)
assert {"admin", "ann", "outsider"} <= {one.login for one in outsider.list_users_info()}
assert "ann" in [one["login"] for one in client.list_users()]
refused("FORBIDDEN", outsider.list_users)
refused("NOT_FOUND", client.get_user("nobody").get_info)
assert client.get_own_user().get_settings().get_raw()["login"] == "admin"
made = client.create_users([{"login": "c1", "password": "p"}, {"login": "ann", "password": "p"}])
assert [(one["login"], one["status"]) for one in made] == [("c1", "SUCCESS"), ("ann", "FAILURE")], made
assert made[1]["error"], made
edited = client.edit_users([{"login": "c1", "displayName": "C"}])
assert edited[0]["status"] == "SUCCESS", edited
assert client.delete_users(["c1", "admin"])[1]["status"] == "FAILURE"
refused("SELF_DELETION", client.get_user("admin").delete)
refused("LAST_ADMINISTRATOR", client.get_user("admin").delete, allow_self_deletion=True)

# Keys
made = client.create_personal_api_key("mine", "what for")
assert made["key"].startswith("slw_") and made["id"], made
own = dataikuapi.DSSClient(told["url"], made["key"])
assert own.get_auth_info()["authIdentifier"] == "admin"
listed = [key for key in client.list_personal_api_keys() if key.id == made["id"]][0]
assert (listed.user, listed.label, listed.description, listed.created_by) == ("admin", "mine", "what for", "admin")
assert listed.created_on and made["key"] not in json.dumps(dict(listed))
key = client.get_personal_api_key(made["id"])
definition = key.get_definition()
definition["label"] = "other"
key.set_definition(definition)
assert key.get_definition()["label"] == "other"
refused("NOT_FOUND", outsider.get_personal_api_key(made["id"]).get_definition)
refused("NOT_FOUND", outsider.get_personal_api_key(made["id"]).delete)
key.delete()
refused("UNAUTHENTICATED", own.get_auth_info)
client.create_personal_api_key()
theirs = client.create_personal_api_key_for_user("ann", "for ann", as_type="dict")
ann = dataikuapi.DSSClient(told["url"], theirs["key"])
assert ann.get_auth_info()["authIdentifier"] == "ann"
refused("FORBIDDEN", outsider.create_personal_api_key_for_user, "ann")
refused("FORBIDDEN", outsider.list_all_personal_api_keys)
assert {"ann", "admin"} <= {key.user for key in client.list_all_personal_api_keys()}

# Acting for others
as_ann = client.get_user("ann").get_client_as()
assert as_ann.get_auth_info()["authIdentifier"] == "ann"
refused("FORBIDDEN", as_ann.list_users)
as_ann.get_projectdeployer().create_project("ANNS")
assert client.get_projectdeployer().get_project("ANNS").get_settings().get_raw()["owner"] == "ann"
refused("X-DKU-ProxyUser", client.get_user("nobody").get_client_as().get_auth_info)
refused("FORBIDDEN", ann.get_user("admin").get_client_as().get_auth_info)
assert ann.get_user("ann").get_client_as().get_auth_info()["authIdentifier"] == "ann"
refused("IN_USE", client.get_user("ann").delete)
client.get_projectdeployer().get_project("ANNS").delete()
client.get_user("ann").delete()
refused("UNAUTHENTICATED", ann.get_auth_info)
group.delete()
refused("NOT_FOUND", group.get_definition)
print("fine")
