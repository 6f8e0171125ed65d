"""The requests that Nextflow's Kubernetes plugin makes for its tasks, one by one, against a daemon: the first argument is its
kubeconfig. Fails by an exception.

Nextflow itself comes from no package index; what it asks, and what it reads of the answers, is written in its client.
"""

import base64
import json
import ssl
import sys
import time
import urllib.error
import urllib.request

import yaml

with open(sys.argv[1]) as file:
    config = yaml.safe_load(file)
cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
authority = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
JOBS, PODS = "/apis/batch/v1/namespaces/default/jobs", "/api/v1/namespaces/default/pods"
PATIENCE = 120


def ask(method, path, body=None):
    """The code and the text of an answer."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(cluster["server"] + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, context=authority) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ok(method, path, body=None):
    code, text = ask(method, path, body)
    assert code in (200, 201, 202), (method, path, code, text)
    return json.loads(text)


def gone(path, kind):
    """A missing object's answer says of what kind it is: of a pod that means to Nextflow that its node went."""
    code, text = ask("GET", path)
    assert code == 404 and json.loads(text)["details"]["kind"] == kind, (path, code, text)


def submit(name, script):
    # The container is called as the task, and its pod's name must begin with that.
    container = {"name": name, "image": "busybox:1.36", "command": ["/bin/sh", "-c", script]}
    labels = {"nextflow.io/app": "nextflow", "nextflow.io/taskName": name}
    pod = {"restartPolicy": "Never", "containers": [container]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"backoffLimit": 0, "template": template}
    metadata = {"name": name, "namespace": "default", "labels": labels}
    made = ok("POST", JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
    assert made["metadata"]["name"] == name, made


def newest(name):
    """The pod of a task: of several, the one that was made last."""
    found = ok("GET", f"{PODS}?labelSelector=job-name={name}")
    assert found["kind"] == "PodList", found
    names = [(pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]) for pod in found["items"]]
    return max(names)[1] if names else None


def until(what, look):
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return seen


def terminated(name):
    def look():
        pod = newest(name)
        status = ok("GET", f"{PODS}/{pod}/status")["status"] if pod else {}
        for container in status.get("containerStatuses", [])[:1]:
            assert pod.startswith(container["name"]) and container["state"], status
            return container["state"].get("terminated") and (pod, container["state"]["terminated"])

    return until(f"{name} ends", look)


def condition(name, kind):
    """What a finished Job says, which is read where its pod is gone."""

    def look():
        status = ok("GET", f"{JOBS}/{name}/status")["status"]
        held = [one for one in status.get("conditions", []) if (one["type"], one["status"]) == (kind, "True")]
        return held and (status, held[0])

    return until(f"{name} is {kind}", look)


def delete(name):
    """Its pods first, then the Job, with no word of how."""
    for pod in ok("GET", f"{PODS}?labelSelector=job-name={name}")["items"]:
        assert ok("DELETE", f"{PODS}/{pod['metadata']['name']}")["kind"] == "Pod"
    ok("DELETE", f"{JOBS}/{name}")
    until(f"{name} is gone", lambda: ask("GET", f"{JOBS}/{name}/status")[0] == 404)
    gone(f"{JOBS}/{name}/status", "jobs")


submit("nf-right", "echo words")
pod, state = terminated("nf-right")
assert (state["exitCode"], state["reason"]) == (0, "Completed") and state["startedAt"] <= state["finishedAt"], state
for query in ("", "?follow=true"):
    assert ask("GET", f"{PODS}/{pod}/log{query}") == (200, "words\n")
assert ok("GET", f"{PODS}/{pod}/status")["spec"]["nodeName"]
condition("nf-right", "Complete")
ok("DELETE", f"{PODS}/{pod}")
until("the pod is gone", lambda: ask("GET", f"{PODS}/{pod}/status")[0] == 404)
gone(f"{PODS}/{pod}/status", "pods")
status, _ = condition("nf-right", "Complete")
assert status["succeeded"] == 1 and status["startTime"] <= status["completionTime"], status
delete("nf-right")

submit("nf-wrong", "exit 3")
assert terminated("nf-wrong")[1]["exitCode"] == 3
status, why = condition("nf-wrong", "Failed")
assert status["failed"] == 1 and why["message"] == "Job has reached the specified backoff limit", status
delete("nf-wrong")

# A task that is cancelled.
submit("nf-long", "sleep 3600")
until("it runs", lambda: newest("nf-long"))
delete("nf-long")
until("no pod is left", lambda: not ok("GET", PODS)["items"])

# What a run has beside its tasks.
for kind in ("secrets", "persistentvolumeclaims"):
    gone(f"/api/v1/namespaces/default/{kind}/none", kind)
configs = "/api/v1/namespaces/default/configmaps"
ok("POST", configs, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nf-config"}, "data": {"a": "1"}})
assert ok("DELETE", f"{configs}/nf-config")["status"] == "Success"
assert [job["metadata"]["name"] for job in ok("GET", "/apis/batch/v1/jobs")["items"]] == []
