//! Image volumes on the real engine, with images from a registry of the tests' own.

use jobdock::runtime::{LABEL_IMAGE, Runtime as _};

use super::pod_docker::with_house;
use super::registry::{Registry, forget, until_waiting};
use super::support::image;

/// A pod that runs a shell text and mounts an image at `/vol`, or with `sub_path` a part of it.
fn mounting(name: &str, reference: &str, sub_path: &str, script: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{restartPolicy: Never, terminationGracePeriodSeconds: 0, volumes: [{{name: data, \
         image: {{reference: '{reference}', pullPolicy: IfNotPresent}}}}], containers: [{{name: main, image: {}, \
         imagePullPolicy: Never, command: [sh, -c, {}], volumeMounts: [{{name: data, mountPath: /vol{sub_path}}}]}}]}}}}",
        image::NAME,
        serde_json::to_string(script).expect("a text is JSON")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_volume_shows_the_images_files_and_takes_none() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    let reference = registry.image("fresh/data:1");
    with_house(|house, _| {
        let reference = reference.clone();
        async move {
            let house = house.lock().await;
            let script = "ls -A /vol; cat /vol/data/hello; stat -c '%u %a' /vol/data/hello; readlink /vol/data/out; \
                          wc -c < /vol/data/noise; touch /vol/x 2>/dev/null || echo read-only";
            let log = house.printed(&mounting("whole", &reference, "", script), "whole").await;
            let files = ["bin", "data", "etc", "home", "root", "tmp", "usr", "var"];
            let told = ["hello from the image", "1000 640", "/etc", "2097152", "read-only"];
            assert_eq!(log.lines().collect::<Vec<_>>(), [&files[..], &told].concat(), "{log}");
            let part = mounting("part", &reference, ", subPath: data/deep", "ls -A /vol; cat /vol/file");
            assert_eq!(house.printed(&part, "part").await, "file\ndeep\n");
            let events = house.events("whole").join("\n");
            assert!(events.contains(&format!("Normal Pulling Pulling image \"{reference}\"")), "{events}");
            assert!(
                events.contains(&format!("Normal Pulled Successfully pulled image \"{reference}\" in ")),
                "{events}"
            );
            let present = format!("Normal Pulled Container image \"{reference}\" already present on machine");
            assert!(house.events("part").contains(&present), "{:?}", house.events("part"));
            for (name, path, words) in [
                ("nowhere", "data/none", "/data/none is not in the image"),
                ("outside", "data/out", "/data/out is a link, and may lead out of the volume"),
            ] {
                house.pod(&mounting(name, &reference, &format!(", subPath: {path}"), "true")).await;
                let message = until_waiting(&house, name, "CreateContainerConfigError").await;
                assert_eq!(message, format!("failed to prepare subPath \"{path}\" of volume \"data\": {words}"));
                house.delete(name, Some(0)).await;
            }
            for name in ["whole", "part"] {
                house.delete(name, Some(0)).await;
            }
            house.until_empty().await;
        }
    })
    .await;
    forget(&[reference]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_share_one_copy_which_lives_through_a_crash_and_ends_with_the_last_of_them() {
    let registry = Registry::start().await.expect("a registry of the test's own");
    let reference = registry.image("fresh/data:1");
    with_house(|house, engine| {
        let reference = reference.clone();
        async move {
            let mut house = house.lock().await;
            let copies = async || {
                let volumes = engine.volumes().await.expect("the engine tells");
                volumes.iter().filter(|volume| volume.labels.contains_key(LABEL_IMAGE)).count()
            };
            // Engines that mount images themselves need no copy.
            let native = engine.engine().await.expect("the engine tells").runtime_version;
            let expected = usize::from(native.starts_with("docker://20."));
            let waiting = "until test -e /tmp/go; do sleep 0.1; done; cat /vol/data/hello";
            for name in ["one", "two"] {
                house.pod(&mounting(name, &reference, "", waiting)).await;
            }
            for name in ["one", "two"] {
                house.until_phase(name, "Running").await;
            }
            assert_eq!(copies().await, expected);
            house.delete("one", Some(0)).await;
            house.until_gone("one").await;
            house.kill().await;
            house.begin();
            // A third one has been through the new agent's first look at everything.
            let script = "cat /vol/data/hello";
            assert_eq!(
                house.printed(&mounting("three", &reference, "", script), "three").await,
                "hello from the image\n"
            );
            house.delete("three", Some(0)).await;
            house.until_gone("three").await;
            assert_eq!(copies().await, expected, "the pod that runs on still mounts it");
            house.delete("two", Some(0)).await;
            house.until_empty().await;
        }
    })
    .await;
    forget(&[reference]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_volume_that_cannot_be_pulled_holds_up_whoever_mounts_it() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        // Nobody listens there.
        house.pod(&mounting("lost", "127.0.0.1:9/none:1", "", "true")).await;
        until_waiting(&house, "lost", "ErrImagePull").await;
        let message = until_waiting(&house, "lost", "ImagePullBackOff").await;
        assert!(message.starts_with("Back-off pulling image \"127.0.0.1:9/none:1\": ErrImagePull: "), "{message}");
        let never = mounting("never", "127.0.0.1:9/none:1", "", "true").replace("IfNotPresent", "Never");
        house.pod(&never).await;
        until_waiting(&house, "never", "ErrImageNeverPull").await;
        house.pod(&mounting("wrong", "127.0.0.1:9/None:1", "", "true")).await;
        let message = until_waiting(&house, "wrong", "InvalidImageName").await;
        assert!(message.contains("must be lowercase"), "{message}");
        for name in ["lost", "never", "wrong"] {
            house.delete(name, Some(0)).await;
        }
        house.until_empty().await;
    })
    .await;
}
