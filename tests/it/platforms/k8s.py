"""A service on Kubernetes, through Dataiku's own client; `part` says how far."""

import json
import sys

import dataikuapi
from dataikuapi.utils import DataikuException

told = json.loads(sys.argv[1])
deployer = dataikuapi.DSSClient(told["url"], told["key"]).get_apideployer()
MASK = "**********"


def refused(action, *words):
    try:
        action()
    except DataikuException as failure:
        assert all(word in str(failure) for word in words), failure
        return
    raise AssertionError("not refused: %s" % (words,))


def deployed():
    return deployer.get_deployment("fraud-cluster")


def change(of, **values):
    settings = of.get_settings()
    settings.get_raw().update(values)
    settings.save()


def updated(status="SUCCESS"):
    result = deployed().start_update().wait_for_result()
    assert result["status"] == status, result
    assert told["token"] not in json.dumps(result) and told["password"] not in json.dumps(result), result
    return json.dumps(result)


def deploy():
    infra = deployer.create_infra("cluster", "Test", "K8S")
    cluster = {"apiServer": told["api_server"], "token": told["token"], "certificateAuthority": told["authority"]}
    registry = {
        "registryHost": told["registry"], "registryUser": told["user"], "registryPassword": told["password"],
        "registryPlainHttp": True, "baseImageTag": "base:1",
    }
    params = {"nodeAddress": told["address"], "nodePort": told["port"]}
    workload = {"replicas": 2, "env": {"LEVEL": "info"}, "secretEnv": [{"name": "DB_PASSWORD", "value": "a-password-of-a-database"}], "failingPodSeconds": 30}
    exposition = {"type": "NODE_PORT", "params": params}
    wrong = dict(workload, replicas=-3)
    refused(lambda: change(infra, cluster=cluster, workload=wrong, **registry), "workload.replicas")
    change(infra, cluster=cluster, k8sNamespace=told["namespace"], defaultServiceExposition=exposition, workload=workload, **registry)
    raw = infra.get_settings().get_raw()
    assert raw["cluster"]["token"] == raw["registryPassword"] == raw["workload"]["secretEnv"][0]["value"] == MASK, raw

    service = deployer.create_service("fraud")
    for version in ("v1", "v2"):
        with open(told["versions"][version], "rb") as archive:
            service.import_version(archive)
    deployment = deployer.create_deployment("fraud-cluster", "fraud", "cluster", "v1")
    updated()
    status = deployment.get_status()
    assert status.get_health() == "HEALTHY", status.get_heavy()
    assert status.get_service_urls() == ["http://%s:%s/public/api/v1/fraud" % (told["address"], told["port"])], status.get_service_urls()
    assert "/score/predict" in deployment.get_open_api().get()["paths"]


def query():
    """Through the API server's proxy, and with a key where the service is exposed."""
    deployment = deployed()
    asked = [{"q": {"features": {"a": 1}}}]
    answer = deployment.run_queries(asked, endpoint_id="score")
    assert answer["success"], answer
    response = answer["responses"][0]["response"]
    assert response == {"path": "/public/api/v1/fraud/score/predict", "asked": asked[0]["q"], "key": None}, response
    assert deployment.run_test_queries(endpoint_id="explain")["success"]
    change(deployment, authorization={"method": "API_KEYS", "keys": ["a-callers-key"]})
    updated()
    answer = deployment.run_queries(asked, endpoint_id="score")
    assert answer["success"] and answer["responses"][0]["response"]["key"].startswith("Basic "), answer
    change(deployment, authorization={})
    updated()


def fails():
    """Pods that can't pull: the reason is told, and what was live is live again."""
    infra, deployment = deployer.get_infra("cluster"), deployed()
    change(infra, imagesNamePrefix="unpullable")
    change(deployment, generationsMapping={"mode": "SINGLE_GENERATION", "generation": "v2"})
    assert "ImagePullBackOff" in updated("ERROR")
    change(infra, imagesNamePrefix="")
    change(deployment, generationsMapping={"mode": "SINGLE_GENERATION", "generation": "v1"})
    updated()
    assert deployment.get_status().get_health() == "HEALTHY", deployment.get_status().get_heavy()


def second():
    change(deployed(), generationsMapping={"mode": "SINGLE_GENERATION", "generation": "v2"})
    deployed().start_update()


def delete():
    assert deployed().get_status().get_health() == "HEALTHY", deployed().get_status().get_heavy()
    change(deployed(), enabled=False)
    updated()
    deployed().delete()
    deployer.get_infra("cluster").delete()
    deployer.get_service("fraud").delete()


{"deploy": deploy, "query": query, "fails": fails, "second": second, "delete": delete}[told["part"]]()
