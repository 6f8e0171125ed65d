"""Dagster's Kubernetes ops against a daemon: the first argument is its kubeconfig. Fails by an exception.

A Dagster job of three ops runs in this process; each op makes a Job, follows its log, and waits for its end.
"""

import sys

import dagster
from dagster_k8s import execute_k8s_job
from kubernetes import client, config

kubeconfig = sys.argv[1]
config.load_kube_config(kubeconfig)
batch, core = client.BatchV1Api(), client.CoreV1Api()


def launch(context, name, script, **options):
    execute_k8s_job(
        context,
        image="busybox:1.36",
        image_pull_policy="IfNotPresent",
        command=["sh", "-c"],
        args=[script],
        namespace="default",
        load_incluster_config=False,
        kubeconfig_file=kubeconfig,
        timeout=120,
        k8s_job_name=name,
        **options,
    )


@dagster.op
def succeeds(context):
    launch(context, "succeeds", "echo begin; sleep 1; echo end", env_secrets=["words"])


@dagster.op(ins={"after": dagster.In(dagster.Nothing)})
def in_parallel(context):
    launch(context, "in-parallel", "echo many", job_spec_config={"parallelism": 3, "completions": 3})


@dagster.op(ins={"after": dagster.In(dagster.Nothing)})
def fails(context):
    launch(context, "fails", "echo sorry; exit 3")


@dagster.job
def flow():
    fails(in_parallel(succeeds()))


core.create_namespaced_secret("default", {"metadata": {"name": "words"}, "stringData": {"WORD": "x"}})
result = flow.execute_in_process(raise_on_error=False)
succeeded = [event.step_key for event in result.all_events if event.is_step_success]
assert succeeded == ["succeeds", "in_parallel"], succeeded
failure = result.failure_data_for_node("fails")
# Which words depends on whether Dagster saw the pod run.
assert "sorry" in str(failure.error) or "failed job pods" in str(failure.error), failure.error
# The failed Job is deleted by Dagster, with its pods.
left = {job.metadata.name: job for job in batch.list_namespaced_job("default").items}
assert set(left) == {"succeeds", "in-parallel"}, set(left)
assert left["in-parallel"].status.succeeded == 3
assert left["succeeds"].metadata.labels["dagster/op"] == "succeeds"
pods = core.list_namespaced_pod("default", label_selector="dagster/op=succeeds").items
# As bytes: this version of the client makes a text of them by `str()`, quotes and all.
log = core.read_namespaced_pod_log(pods[0].metadata.name, "default", _preload_content=False)
assert log.data == b"begin\nend\n", log.data
