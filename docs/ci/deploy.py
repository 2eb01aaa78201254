#!/usr/bin/env python3
"""Deploys a bundle with Dataiku's Python client (`pip install dataiku-api-client six`), and nothing else.

    SLIPWAY_URL=https://slipway.example.org SLIPWAY_API_KEY=... deploy.py churn-v2.zip churn-test

Exit codes: 0 done, 1 failed, 2 refused, 3 timed out waiting. The bundle's manifest names its id and its project.
"""

import argparse
import hashlib
import json
import os
import sys
import time
import zipfile

import dataikuapi
import requests  # which Dataiku's client brings
from dataikuapi.utils import DataikuException

FAILED, REFUSED, TIMED_OUT = 1, 2, 3


def main():
    arguments = argparse.ArgumentParser(description="Deploys a bundle and waits until it is live.")
    arguments.add_argument("bundle", help="the archive")
    arguments.add_argument("deployment", help="the deployment's id")
    arguments.add_argument("--infrastructure", help="make the deployment here if it is not there")
    arguments.add_argument("--timeout", type=float, default=3600, help="seconds to wait [3600]")
    asked = arguments.parse_args()
    url, key = os.environ.get("SLIPWAY_URL"), os.environ.get("SLIPWAY_API_KEY")
    if not url or not key:
        return end(REFUSED, "set SLIPWAY_URL and SLIPWAY_API_KEY")
    deployer = dataikuapi.DSSClient(url, key).get_projectdeployer()
    try:
        project, bundle = bring(deployer, asked.bundle)
        deployment = place(deployer, asked, project, bundle)
        future = deployment.start_update()
    except requests.RequestException as error:
        return end(FAILED, f"no answer: {error}")
    except (DataikuException, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        return end(REFUSED, error)
    return follow(deployment, future, asked.timeout)


def bring(deployer, archive):
    """Uploads the bundle, unless the same content is there: its project and its id."""
    with zipfile.ZipFile(archive) as content:
        manifest = json.loads(content.read("bundle-manifest.json"))
    project, bundle = manifest["projectKey"], manifest["bundleId"]
    known = project in (one.id for one in deployer.list_projects())
    packages = deployer.get_project(project).get_status().get_raw()["packages"] if known else []
    if bundle not in (package["id"] for package in packages):
        with open(archive, "rb") as stream:
            deployer.upload_bundle(stream)
        say(f"Uploaded bundle {bundle} of project {project}.")
    elif digest(chunks(archive)) != digest(remote(deployer.get_project(project), bundle)):
        raise ValueError(f"project {project} has a bundle {bundle} of another content: give it another id")
    else:
        say(f"The same content is there already: bundle {bundle} of project {project}.")
    return project, bundle


def place(deployer, asked, project, bundle):
    """The deployment, with this bundle set."""
    known = asked.deployment in (one.id for one in deployer.list_deployments())
    if not known and asked.infrastructure:
        say(f"Making deployment {asked.deployment} on {asked.infrastructure}.")
        return deployer.create_deployment(asked.deployment, project, asked.infrastructure, bundle)
    deployment = deployer.get_deployment(asked.deployment)
    settings = deployment.get_settings()
    if settings.get_raw()["bundleId"] != bundle:
        settings.get_raw()["bundleId"] = bundle
        settings.save()
    return deployment


def follow(deployment, future, patience):
    """Waits for the update's end. An answer that does not come is asked for again: the update goes on."""
    until = time.monotonic() + patience
    while True:
        try:
            state = future.get_state()
            if state.get("hasResult"):
                break
        except DataikuException as error:
            return end(FAILED, error)
        except requests.RequestException as error:
            say(f"no answer, asking again: {error}")
        if time.monotonic() > until:
            return end(TIMED_OUT, f"the update is not over after {patience:g} s; it goes on")
        time.sleep(1)
    report = future.get_result() or {}
    for message in report.get("messages", []):
        say(f"{message.get('severity', '-')} {message.get('title', '')}: {message.get('message', '')}")
    health = deployment.get_status().get_health()
    say(f"Health of {deployment.id}: {health}")
    if report.get("error") or report.get("fatal") or report.get("maxSeverity") == "ERROR":
        return end(FAILED, "the update failed")
    return 0 if health in ("HEALTHY", "WARNING") else end(FAILED, "the deployment is not healthy")


def chunks(archive):
    with open(archive, "rb") as stream:
        while piece := stream.read(1 << 20):
            yield piece


def remote(project, bundle):
    with project.get_bundle_stream(bundle) as answer:
        yield from answer.iter_content(1 << 20)


def digest(pieces):
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def say(words):
    print(words, flush=True)


def end(code, words):
    print(f"deploy.py: {words}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
