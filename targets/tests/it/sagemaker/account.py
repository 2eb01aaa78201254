"""An account of moto's, in which every call needs a signature that is right and a policy that allows it.

Argument: a policy, as JSON. Prints {url, keyId, secret, roleArn} and stays until its input ends.
"""

import json
import sys

import boto3
import requests
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
region = "eu-west-1"


def client(service):
    return boto3.client(service, endpoint_url=url, region_name=region, aws_access_key_id="a", aws_secret_access_key="b")


iam = client("iam")
policy = sys.argv[1]
iam.create_user(UserName="slipway")
iam.put_user_policy(UserName="slipway", PolicyName="least", PolicyDocument=policy)
key = iam.create_access_key(UserName="slipway")["AccessKey"]
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
iam.put_role_policy(RoleName="deployer", PolicyName="least", PolicyDocument=policy)
client("ecr").create_repository(repositoryName="team/services")
# From here on, moto asks every caller who they are and whether they may.
requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
print(json.dumps({"url": url, "keyId": key["AccessKeyId"], "secret": key["SecretAccessKey"], "roleArn": role}), flush=True)
sys.stdin.read()
server.stop()
