"""kubernetes_asyncio against a daemon: the first argument is its kubeconfig. Fails by an exception."""

import asyncio
import sys

from kubernetes_asyncio import client, config, watch


async def main():
    await config.load_kube_config(sys.argv[1])
    async with client.ApiClient() as api:
        batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
        container = {"name": "main", "image": "busybox:1.36", "command": ["sh", "-c", "echo hello"]}
        template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        await batch.create_namespaced_job("default", {"metadata": {"name": "four"}, "spec": {"template": template}})
        done = False
        async with watch.Watch().stream(
            batch.list_namespaced_job, "default", field_selector="metadata.name=four", timeout_seconds=120
        ) as events:
            async for event in events:
                conditions = event["object"].status.conditions or []
                done = any(one.type == "Complete" and one.status == "True" for one in conditions)
                if done:
                    break
        assert done, "the Job does not end"
        pods = await core.list_namespaced_pod("default", label_selector="job-name=four")
        assert await core.read_namespaced_pod_log(pods.items[0].metadata.name, "default") == "hello\n"
        await batch.patch_namespaced_job("four", "default", {"metadata": {"labels": {"a": "b"}}})
        listed = await batch.list_namespaced_job("default", label_selector="a=b")
        assert [one.metadata.name for one in listed.items] == ["four"]
        await batch.delete_namespaced_job("four", "default", propagation_policy="Background")


asyncio.run(main())
