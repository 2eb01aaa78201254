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
MANIFEST = "bundle-manifest.json"


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
        project, bundle = named(asked.bundle)
        # First of all: who may not, or spelt it wrong, uploads nothing.
        known = asked.deployment in (one.id for one in deployer.list_deployments())
        if not known and not asked.infrastructure:
            words = f"there is no deployment {asked.deployment} that this key may see"
            return end(REFUSED, f"NOT_FOUND: {words}; with --infrastructure it is made")
        bring(deployer, asked.bundle, project, bundle)
        deployment = place(deployer, asked, known, project, bundle)
        future = deployment.start_update()
    except requests.RequestException as error:
        return end(FAILED, f"no answer: {error}")
    except (DataikuException, OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        return end(REFUSED, error)
    return follow(deployment, future, asked.timeout)


def named(archive):
    """The project and the id of a bundle, as its manifest names them."""
    with zipfile.ZipFile(archive) as content:
        if MANIFEST not in content.namelist():
            raise ValueError(f"{archive} holds no {MANIFEST}: it is no bundle (docs/BUNDLE-FORMAT.md)")
        manifest = json.loads(content.read(MANIFEST))
    names = [manifest.get(name) for name in ("projectKey", "bundleId")] if isinstance(manifest, dict) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{MANIFEST} in {archive} does not name projectKey and bundleId")
    return names


def bring(deployer, archive, project, bundle):
    """Uploads the bundle, unless the same content is there."""
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


def place(deployer, asked, known, project, bundle):
    """The deployment, with this bundle set."""
    if not known:
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


def plain(words):
    """Words of others in one line that no CI system takes for a command of its own."""
    words = " ".join("".join(each if each.isprintable() else " " for each in str(words)).split())
    while "##" in words:
        words = words.replace("##", "# #")
    return ": " + words[1:] if words.startswith("::") else words


def say(words):
    print(plain(words), flush=True)


def end(code, words):
    print(f"deploy.py: {plain(words)}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
