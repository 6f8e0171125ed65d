//! What a container finds in its volumes on the real engine: files, their modes and owners, and what becomes of them while
//! it runs.

use std::os::unix::fs::PermissionsExt as _;

use jobdock::model::object::{Key, Object};
use jobdock::store::logs::Limits;
use jobdock::store::{Expected, Write};
use jobdock::token::Signer;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};

use super::pod_docker::with_house;
use super::pod_house::{House, from_yaml, tell};
use super::support::image;

/// A pod of one container `main` that runs a shell text, with these further fields of the container and of the pod.
fn running(name: &str, script: &str, container: &str, pod: &str) -> String {
    format!(
        "{{metadata: {{name: {name}, labels: {{step: v0}}, annotations: {{note: n0}}}}, spec: {{restartPolicy: Never, \
         terminationGracePeriodSeconds: 0, containers: [{{name: main, image: {}, imagePullPolicy: Never, command: [sh, -c, \
         {}]{container}}}]{pod}}}}}",
        image::NAME,
        serde_json::to_string(script).expect("a text is JSON")
    )
}

/// How many times its size on disk a log of random bytes in hexadecimal may have at most.
const UNPACKED: usize = 4;

fn map(value: &str) -> ConfigMap {
    from_yaml(&format!(
        "{{metadata: {{name: map, namespace: default}}, data: {{a: \"{value}\\n\", b: \"{value}\\n\"}}}}"
    ))
}

fn secret(value: &str) -> Secret {
    from_yaml(&format!("{{metadata: {{name: secret, namespace: default}}, data: {{word: {value}}}}}"))
}

/// Relabels a pod as a client does.
async fn relabel(house: &House, name: &str) {
    let key = Key::of::<Pod>("default", name);
    loop {
        let object = house.store.get(&key).expect("the store reads").expect("the pod is there");
        let expected = Expected::Revision(object.revision());
        let object = object.with_meta(|meta| {
            meta.labels = Some([("step".to_owned(), "v1".to_owned())].into());
            meta.annotations = Some([("note".to_owned(), "n1".to_owned())].into());
        });
        if house.store.commit(vec![Write::Update { object, expected }]).await.is_ok() {
            return;
        }
    }
}

/// Reads both keys by the directory that `..data` names, and says where they are of two times.
const WATCHER: &str = "\
    until [ \"$1\" = end ]; do \
      d=$(readlink /all/..data); set -- $(cat /all/$d/a /all/$d/b 2>/dev/null); \
      [ $# = 2 ] && [ \"$1\" != \"$2\" ] && echo torn $1 $2; \
      sleep 0.01; \
    done; \
    until grep -q v1 /all/labels && grep -q n1 /all/notes && grep -q new /all/word; do sleep 0.1; done; \
    cat /all/labels /part; ls -A /all | grep -v '^[.][.][0-9]'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_reaches_a_running_pod_at_once_and_whole_but_not_its_sub_paths() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        house.create(map("first")).await;
        house.create(secret("b2xk")).await;
        let sources = "[{configMap: {name: map}}, {secret: {name: secret}}, {downwardAPI: {items: [{path: labels, \
                       fieldRef: {fieldPath: metadata.labels}}, {path: notes, fieldRef: {fieldPath: \
                       metadata.annotations}}]}}]";
        let volumes = format!(
            ", volumes: [{{name: all, projected: {{sources: {sources}}}}}, {{name: map, configMap: {{name: map}}}}]"
        );
        let mounts = ", volumeMounts: [{name: all, mountPath: /all}, {name: map, mountPath: /part, subPath: a}]";
        let object = house.pod(&running("watcher", &format!("cat /all/a; {WATCHER}"), mounts, &volumes)).await;
        house.eventually("it has begun", || async { house.said(&object, "main", 0).await == "first\n" }).await;
        for step in ["1", "2", "3", "4", "5", "end"] {
            house.replace(Key::of::<ConfigMap>("default", "map"), map(step)).await;
        }
        house.replace(Key::of::<Secret>("default", "secret"), secret("bmV3")).await;
        relabel(&house, "watcher").await;
        house.until_phase("watcher", "Succeeded").await;
        let log = house.log(&object, "main", 0).await;
        assert_eq!(log, "first\nstep=\"v1\"first\n..data\na\nb\nlabels\nnotes\nword\n");
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_have_the_modes_and_owners_that_were_asked_for() {
    with_house(|house, _| async move {
        let mut house = house.lock().await;
        house.sign(Signer::fresh().expect("a key")).await;
        house.create::<ServiceAccount>(from_yaml("{metadata: {name: robot, namespace: default}}")).await;
        house.create(map("x")).await;
        house.create(secret("eA==")).await;
        let all = "{name: all, projected: {defaultMode: 288, sources: [{serviceAccountToken: {path: token}}, {configMap: \
                   {name: map, items: [{key: a, path: deep/a, mode: 384}]}}, {secret: {name: secret, items: [{key: word, \
                   path: word}]}}, {downwardAPI: {items: [{path: name, mode: 292, fieldRef: {fieldPath: metadata.name}}, \
                   {path: limit, resourceFieldRef: {containerName: main, resource: limits.memory, divisor: 1Mi}}]}}]}}";
        let single = "{name: map, configMap: {name: map, defaultMode: 256, items: [{key: a, path: a}, {key: b, path: b, mode: \
                      493}]}}, {name: secret, secret: {secretName: secret}}";
        let mounts = ", resources: {limits: {memory: 32Mi}}, volumeMounts: [{name: all, mountPath: /all}, {name: map, \
                      mountPath: /map}, {name: secret, mountPath: /secret}, {name: empty, mountPath: /empty}]";
        let script = "cd /; stat -L -c '%n %a' all/token all/deep/a all/word all/name map/a map/b secret/word; cat all/limit; \
                      echo; touch all/x map/x secret/x 2>/dev/null || echo read-only";
        let volumes = format!(", serviceAccountName: robot, volumes: [{all}, {single}, {{name: empty, emptyDir: {{}}}}]");
        let log = house.printed(&running("modes", script, mounts, &volumes), "modes").await;
        let expected = "all/token 440\nall/deep/a 600\nall/word 440\nall/name 444\nmap/a 400\nmap/b 755\nsecret/word 644\n32\n\
                        read-only\n";
        assert_eq!(log, expected);
        // With a group, whoever is of it reads what is made for the pod, and shares its directories.
        let script = "id -G; cd /; stat -L -c '%n %a %g' all/deep/a map/a empty ram; cat map/a; touch empty/x ram/x; \
                      stat -c %g empty/x ram/x";
        let group = format!("{volumes}, securityContext: {{runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}}")
            .replace("volumes: [", "volumes: [{name: ram, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, ");
        let mounts = mounts.replace("volumeMounts: [", "volumeMounts: [{name: ram, mountPath: /ram}, ");
        let log = house.printed(&running("group", script, &mounts, &group), "group").await;
        let expected = "1000 2000\nall/deep/a 640 2000\nmap/a 440 2000\nempty 2777 2000\nram 2777 2000\nx\n2000\n2000\n";
        assert_eq!(log, expected);
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_paths_that_are_made_are_as_open_as_a_kubelet_makes_them() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let at = house.dir().join("made");
        let path = |name: &str, kind: &str| {
            let path = at.join(name);
            format!("{{name: {}, hostPath: {{path: {}, type: {kind}}}}}", kind.to_lowercase(), path.display())
        };
        let volumes =
            format!(", volumes: [{}, {}]", path("above/dir", "DirectoryOrCreate"), path("file", "FileOrCreate"));
        let mounts = ", volumeMounts: [{name: directoryorcreate, mountPath: /d}, {name: fileorcreate, mountPath: /f}]";
        house.printed(&running("open", "ls /d; cat /f", mounts, &volumes), "open").await;
        let modes = ["above", "above/dir", "file"].map(|name| {
            let found = std::fs::metadata(at.join(name)).expect("it was made");
            found.permissions().mode() & 0o7777
        });
        assert_eq!(modes, [0o755, 0o755, 0o644]);
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_of_volumes_are_named_by_the_environment_and_made_where_they_are_not_there() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let host = house.dir().join("host");
        std::fs::create_dir_all(host.join("there")).expect("it can be made");
        std::fs::write(host.join("there/file"), "found\n").expect("it can be written");
        let volumes = format!(
            ", volumes: [{{name: disk, emptyDir: {{}}}}, {{name: ram, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}, \
             {{name: host, hostPath: {{path: {}, type: Directory}}}}]",
            host.display()
        );
        let mounts = ", env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}], volumeMounts: [\
                      {name: disk, mountPath: /whole}, {name: disk, mountPath: /own, subPathExpr: pods/$(NAME)}, \
                      {name: ram, mountPath: /ram}, {name: host, mountPath: /there, subPath: there, readOnly: true}, \
                      {name: host, mountPath: /made, subPathExpr: $(NAME)}]";
        let script = "echo a > /own/a; cat /whole/pods/parts/a; cat /there/file; touch /there/x 2>/dev/null || echo read-only; \
                      echo b > /made/b; dd if=/dev/zero of=/ram/a bs=64k count=32 2>/dev/null || echo full; \
                      wc -c < /ram/a; grep ' /ram ' /proc/mounts | cut -d' ' -f3";
        let log = house.printed(&running("parts", script, mounts, &volumes), "parts").await;
        assert_eq!(log, "a\nfound\nread-only\nfull\n1048576\ntmpfs\n");
        assert_eq!(std::fs::read_to_string(host.join("parts/b")).expect("it is on the host"), "b\n");
        let lost = mounts.replace("$(NAME)}]", "$(NOBODY)}]");
        house.pod(&running("lost", "true", &lost, &volumes)).await;
        let told = "waiting CreateContainerConfigError (";
        let pod = house.until("lost", "refused", |pod| tell(Some(pod)).contains(told)).await;
        assert!(tell(Some(&pod)).contains("missing value for NOBODY"), "{}", tell(Some(&pod)));
        house.delete("lost", Some(0)).await;
        house.until_empty().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_a_mebibyte_and_bytes_that_are_no_text_are_kept_and_a_log_stays_within_its_limits() {
    with_house(|house, _| async move {
        let house = house.lock().await;
        let script = "head -c 1048576 /dev/zero | tr '\\0' x; echo; printf '\\001\\000\\177\\n'; echo end";
        let log = house.printed(&running("long", script, "", ""), "long").await;
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(
            (lines[0].len(), lines[0].trim_matches('x'), &lines[1..]),
            (1 << 20, "", &["\u{1}\0\u{7f}", "end"][..])
        );
        // Bytes that cannot be compressed away: the oldest of them go.
        let noise = "head -c 1500000 /dev/urandom | od -An -v -tx1; echo end";
        let limits = Limits { part: 50_000, pod: 500_000, total: u64::MAX };
        house.store.logs().limit(limits);
        let mut made: Vec<Object> = Vec::new();
        for (name, limits, most) in [
            ("noisy", limits, UNPACKED * 600_000),
            ("noisier", Limits { total: 200_000, ..limits }, UNPACKED * 300_000),
        ] {
            house.store.logs().limit(limits);
            made.push(house.pod(&running(name, noise, "", "")).await);
            let log = house.log(&made[made.len() - 1], "main", 0).await;
            assert!(log.ends_with("\nend\n"), "the newest is kept");
            let kept = || async {
                let mut bytes = 0;
                for object in &made {
                    bytes += house.said(object, "main", 0).await.len();
                }
                bytes <= most
            };
            house.eventually("all that is kept is within the limits", kept).await;
        }
        house.until_empty().await;
    })
    .await;
}
