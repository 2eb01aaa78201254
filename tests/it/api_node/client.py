"""Each call of the clients of API nodes, as scripts written for Dataiku make them."""
import contextlib
import io
import json
import os
import sys

from dataikuapi import APINodeAdminClient, APINodeClient
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
admin = APINodeAdminClient(told["url"], told["key"])


def at(name):
    return os.path.join(told["packages"], name)


def refused(part, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except DataikuException as error:
        assert part in str(error), (part, str(error))
        return
    raise AssertionError("not refused: %s" % part)


def printed(call):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        call()
    return json.loads(out.getvalue())


refused("NotAuthenticatedException", APINodeAdminClient(told["url"], "nothing").list_services)
assert admin.list_services() == []
admin.create_service("fraud")
refused("already", admin.create_service, "fraud")
service = admin.service("fraud")
assert service.list_generations() == []

# Import, preload, switch.
service.import_generation_from_archive(at("v1.zip"))
service.import_generation_from_archive(at("v1.zip"))
service.import_generation_from_archive(at("v2.zip"))
refused("holds service closed", service.import_generation_from_archive, at("closed.zip"))
refused("can't read", service.import_generation_from_archive, at("missing.zip"))
refused("UnauthorizedException", service.import_generation_from_archive, "/etc/hostname")
assert [one["generation"] for one in service.list_generations()] == ["v1", "v2"]
query = APINodeClient(told["url"], "fraud")
refused("disabled", query.predict_record, "score", {"a": 1})
service.preload_generation("v1")
service.switch_to_single_generation("v1")
assert admin.list_services() == [{"serviceId": "fraud", "enabled": True}]
assert query.predict_record("score", {"a": 1})["result"]["generation"] == "v1"
assert service.switch_to_newest()["generation"] == "v2"
refused("sum to", service.set_generations_mapping, {"entries": [{"generation": "v1", "proba": 0.5}]})
refused("empty", service.set_generations_mapping, {})
entries = [{"generation": "v1", "proba": 0.5}, {"generation": "v2", "proba": 0.5}]
service.set_generations_mapping({"entries": entries})

# Queries.
answer = query.predict_record(
    "score", {"a": 1, "b": "2"}, forced_generation="v1", context={"who": "test"}, with_explanations=True, n_explanations=1
)
assert answer["result"] == {"prediction": 3, "ignored": False, "generation": "v1", "explanations": {"b": 2}}, answer
assert {query.predict_record("score", {"a": 1})["result"]["generation"] for _ in range(10)} == {"v1", "v2"}
assert len({query.predict_record("score", {"a": 1}, dispatch_key="k")["result"]["generation"] for _ in range(10)}) == 1
answer = query.predict_records("score", [{"features": {"a": 1}}, {"features": {"a": 2}}])
assert [one["prediction"] for one in answer["results"]] == [1, 2], answer
assert query.predict_record("clusters", {"a": 2})["result"]["prediction"] == "cluster_2"
series = [{"date": "2015-01-04T00:00:00.000Z", "timeseries_id": "A", "target": 10.0}]
forecast = query.forecast("next", series)["results"][0]
assert forecast["forecast"] == 10 and forecast["timeseriesIdentifier"] == {"timeseries_id": "A"}, forecast
assert query.predict_effect("effect", {"a": 2})["result"]["predictedEffect"] == 2
assert query.predict_effects("effect", [{"features": {"a": 5}}])["results"][0]["predictedEffect"] == 5
assert query.lookup_record("find", {"id": 7})["data"] == {"id": 7, "score": 7}
assert query.lookup_records("find", [{"data": {"id": 8}}])["results"][0]["data"]["score"] == 8
table = query.sql_query("sql", {"min": 3})
assert table["columns"][0]["name"] == "min" and table["rows"][0][0] == "3", table
assert query.run_function("f", x=[1, 2])["response"]["arguments"] == {"x": [1, 2]}
assert query.run_function("f")["response"]["arguments"] == {}
refused("NotFoundException", query.predict_record, "f", {"a": 1})
refused("NotFoundException", APINodeClient(told["url"], "nobody").predict_record, "score", {})

# A service with keys.
admin.create_service("closed")
admin.service("closed").import_generation_from_archive(at("closed.zip"))
admin.service("closed").switch_to_newest()
refused("NotAuthenticatedException", APINodeClient(told["url"], "closed").predict_record, "score", {"a": 1})
for client in (
    APINodeClient(told["url"], "closed", api_key="query-key"),
    APINodeClient(told["url"], "closed", bearer_token="query-key"),
):
    assert client.predict_record("score", {"a": 1})["result"]["prediction"] == 1

# Switches.
service.disable()
refused("disabled", query.predict_record, "score", {"a": 1})
service.enable()
query.predict_record("score", {"a": 1})

# Keys.
auth = admin.auth()
key = auth.add_key(label="ci", description="for a test", created_by="me")
other = APINodeAdminClient(told["url"], key["key"])
assert [one["label"] for one in other.auth().list_keys()] == [None, "ci"]
auth.delete_key(key["key"])
refused("NotAuthenticatedException", other.list_services)
auth.delete_key_by_id(auth.add_key(label="more")["id"])
assert len(auth.list_keys()) == 1

# Metrics and caches.
assert admin.get_metrics()["services"]["fraud"]["endpoints"]["score"]["answered"] > 20
admin.import_code_env_in_cache(at("py_env"), "python")
admin.register_code_env_in_cache(at("py_env"), told["packages"], "python")
admin.import_model_archive_in_cache(at("model.zip"))
admin.clear_model_cache()
assert printed(admin.clean_code_env_cache) == {"deletedCodeEnvs": ["py_env"]}
admin.service("closed").disable()
service.switch_to_single_generation("v2")
cleaned = printed(admin.clean_unused_services_and_generations)
assert cleaned["deletedServices"] == ["closed"], cleaned
assert cleaned["deletedGenerations"] == [{"serviceId": "fraud", "generation": "v1"}], cleaned

service.delete()
assert admin.list_services() == []
refused("NotFoundException", service.delete)
