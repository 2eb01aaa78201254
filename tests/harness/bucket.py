"""S3 as moto plays it, where every call needs a signature that is right and a policy that allows it.

Arguments: the name of a bucket, and a policy. Prints {url, keyId, secret}; then a line of input is a question after all objects, answered with one line {key: text}.
"""

import base64
import json
import sys

import boto3
import requests
from moto.server import ThreadedMotoServer

bucket, policy = sys.argv[1:]
region = "eu-west-1"
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"


def client(service, key_id="a", secret="b"):
    return boto3.client(service, endpoint_url=url, region_name=region, aws_access_key_id=key_id, aws_secret_access_key=secret)


def user(name, policy):
    iam = client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="least", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
reader = client("s3", *user("reader", json.dumps(everything)))
key_id, secret = user("slipway", policy)
# From here on, every caller is asked who they are and whether they may.
requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
print(json.dumps({"url": url, "keyId": key_id, "secret": secret}), flush=True)
for _ in sys.stdin:
    objects = {}
    for page in reader.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", []):
            content = reader.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
            objects[found["Key"]] = base64.b64encode(content).decode()
    print(json.dumps(objects), flush=True)
server.stop()
