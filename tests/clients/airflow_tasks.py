"""Airflow's Kubernetes operators and executor against a daemon: the first argument is its kubeconfig. Fails by an exception.

A DAG of pods and Jobs runs in this process, as `airflow dags test` runs it, in a database of its own; then the executor
makes pods for tasks of another, and its watcher, a process, tells it of their ends. Those pods run no task.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGE = "busybox:1.36"
PATIENCE = 120
WORKER = f"""
apiVersion: v1
kind: Pod
metadata: {{name: placeholder}}
spec:
  restartPolicy: Never
  containers:
  - {{name: base, image: "{IMAGE}", command: [sh, -c, 'case "$*" in *fails*) exit 3; esac', task]}}
"""


def prepare(home, kubeconfig):
    """Tells Airflow by its environment where the cluster is, and makes its database. Before it is imported."""
    worker = os.path.join(home, "worker.yaml")
    with open(worker, "w") as template:
        template.write(WORKER)
    extra = {"kube_config_path": kubeconfig, "in_cluster": False, "xcom_sidecar_container_image": IMAGE}
    repository, tag = IMAGE.split(":")
    options = {
        "CORE__DAGS_FOLDER": os.path.dirname(os.path.abspath(__file__)),
        "CORE__LOAD_EXAMPLES": "False",
        "KUBERNETES_EXECUTOR__CONFIG_FILE": kubeconfig,
        "KUBERNETES_EXECUTOR__DELETE_WORKER_PODS_ON_FAILURE": "True",
        "KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
        "KUBERNETES_EXECUTOR__NAMESPACE": "default",
        "KUBERNETES_EXECUTOR__POD_LAUNCH_FAILURE_RETRIES": "0",
        "KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": worker,
        "KUBERNETES_EXECUTOR__WORKER_CONTAINER_REPOSITORY": repository,
        "KUBERNETES_EXECUTOR__WORKER_CONTAINER_TAG": tag,
        "LOGGING__LOGGING_LEVEL": "WARNING",
    }
    os.environ.update({f"AIRFLOW__{name}": value for name, value in options.items()})
    connection = json.dumps({"conn_type": "kubernetes", "extra": extra})
    # The file is read again as one of DAGs, from where it lies.
    os.environ.update(AIRFLOW_HOME=home, AIRFLOW_CONN_KUBERNETES_DEFAULT=connection, PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    airflow = os.path.join(os.path.dirname(sys.executable), "airflow")
    subprocess.run([airflow, "db", "migrate"], check=True, capture_output=True)


if __name__ == "__main__":
    home = tempfile.TemporaryDirectory()
    prepare(home.name, os.path.abspath(sys.argv[1]))

from airflow.providers.cncf.kubernetes.operators.job import (
    KubernetesDeleteJobOperator,
    KubernetesJobOperator,
    KubernetesPatchJobOperator,
)
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from kubernetes import client, config


def shell(script):
    return {"image": IMAGE, "namespace": "default", "cmds": ["sh", "-c", script], "startup_check_interval_seconds": 1}


RESULT = "mkdir -p /airflow/xcom; echo begin; sleep 1; echo '{\"answer\": 42}' > /airflow/xcom/return.json; echo end"
JOB = {"wait_until_job_complete": True, "job_poll_interval": 1, "random_name_suffix": False}

with DAG("tasks", schedule=None) as dag:
    for suffix in ("", "-deferred"):
        how = {"deferrable": bool(suffix), "poll_interval": 1}
        KubernetesPodOperator(
            task_id=f"pod{suffix}", do_xcom_push=True, on_finish_action="keep_pod", **how, **shell(RESULT)
        )
        KubernetesPodOperator(task_id=f"pod-fails{suffix}", **how, **shell("echo sorry; exit 3"))
        KubernetesJobOperator(
            task_id=f"job{suffix}", name=f"twice{suffix}", completions=2, parallelism=2, **how, **JOB, **shell("echo x")
        )
        KubernetesJobOperator(
            task_id=f"job-fails{suffix}", name=f"fails{suffix}", backoff_limit=0, **how, **JOB, **shell("exit 3")
        )
    made = KubernetesJobOperator(
        task_id="made", name="made", random_name_suffix=False, suspend=True, **shell("sleep 3600")
    )
    body = {"spec": {"suspend": False}}
    patched = KubernetesPatchJobOperator(task_id="patched", name="job-made", namespace="default", body=body)
    deleted = KubernetesDeleteJobOperator(task_id="deleted", name="job-made", namespace="default")
    made >> patched >> deleted


def operators():
    """The tasks end as they should, and leave what they should. Returns their run."""
    run = dag.test()
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert len(states) == 11, states
    for task, state in states.items():
        assert state == ("failed" if "fails" in task else "success"), states
    for suffix in ("", "-deferred"):
        result = run.get_task_instance(f"pod{suffix}").xcom_pull(task_ids=f"pod{suffix}")
        assert result == {"answer": 42}, result
        # The operator's pods are found by their labels, and told that they were seen.
        (pod,) = pods(f"task_id=pod{suffix},already_checked=True")
        assert pod.status.phase == "Succeeded", pod.status
        # As bytes: this version of the client makes a text of them by `str()`, quotes and all.
        log = core.read_namespaced_pod_log(pod.metadata.name, "default", container="base", _preload_content=False)
        assert log.data == b"begin\nend\n", log.data
        assert batch.read_namespaced_job_status(f"job-twice{suffix}", "default").status.succeeded == 2
        failed = batch.read_namespaced_job_status(f"job-fails{suffix}", "default").status
        assert failed.failed == 1 and failed.conditions[-1].reason == "BackoffLimitExceeded", failed
    # Deleted without a policy: the Job is gone, and its pod an orphan.
    (orphan,) = pods("job-name=job-made")
    assert orphan.metadata.owner_references is None and orphan.metadata.deletion_timestamp is None, orphan.metadata
    core.delete_namespaced_pod(orphan.metadata.name, "default", grace_period_seconds=0)
    return run


def executor(run):
    """Pods for two tasks of a run; what the watcher tells of them reaches the scheduler's queue, and they are deleted."""
    from airflow.executors.workloads import BundleInfo, ExecuteTask
    from airflow.providers.cncf.kubernetes.executors.kubernetes_executor import KubernetesExecutor
    from airflow.utils.session import create_session

    def make(task):
        return ExecuteTask.make(run.get_task_instance(task), Path(__file__), bundle_info=BundleInfo(name="by-hand"))

    works = KubernetesExecutor()
    works.job_id = "by-hand"
    works.start()
    try:
        with create_session() as session:
            for task in ("pod", "pod-fails"):
                works.queue_workload(make(task), session)
        ended = {}
        deadline = time.monotonic() + PATIENCE
        while len(ended) < 2 or pods("airflow-worker=by-hand"):
            assert time.monotonic() < deadline, (ended, pods("airflow-worker=by-hand"))
            works.heartbeat()
            for key, (state, why) in works.get_event_buffer().items():
                if state != "queued":
                    ended[key.task_id] = (state, why)
            time.sleep(0.2)
    finally:
        works.end()
    # The first ended well: its state is the one that the database has.
    assert ended["pod"] == ("success", None), ended
    assert ended["pod-fails"][0] == "failed", ended


def pods(selector):
    return core.list_namespaced_pod("default", label_selector=selector).items


if __name__ == "__main__":
    config.load_kube_config(sys.argv[1])
    batch, core = client.BatchV1Api(), client.CoreV1Api()
    executor(operators())
