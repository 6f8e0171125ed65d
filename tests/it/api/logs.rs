//! `pods/log`: container choice, options, what is told where there is no log.

use bytes::Bytes;
use http::Method;
use jobdock::model::object::Object;
use jobdock::store::logs::{Gap, Line, LogKey};
use jobdock::store::{Expected, Write};
use serde_json::{Value, json};

use super::face::Face;

fn path(query: &str) -> String {
    format!("/api/v1/namespaces/default/pods/x/log?{query}")
}

/// A pod of containers `a` and `b` (and init container `i` where asked for) whose `a` is in this state.
fn pod(names: &[&str], status: Value) -> Object {
    let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
    let mut status = status;
    for (field, value) in [("name", json!("a")), ("ready", json!(false)), ("image", json!("")), ("imageID", json!(""))]
    {
        status[field] = value;
    }
    let pod = json!({
        "metadata": {"name": "x", "namespace": "default", "uid": "u"},
        "spec": {"nodeName": "n", "restartPolicy": "OnFailure", "containers": containers},
        "status": {"phase": "Running", "containerStatuses": [status]},
    });
    Object::from_value(jobdock::model::kind::Kind::find("", "Pod").unwrap(), pod).unwrap()
}

fn write(face: &Face, attempt: u32, lines: &[&str], finish: bool) {
    let key = LogKey { pod_uid: "u".to_owned(), container: "a".to_owned(), attempt };
    let mut writer = face.store.logs().writer(&key).unwrap();
    for (second, text) in lines.iter().enumerate() {
        let at = jiff::Timestamp::from_second(1_700_000_000 + second as i64).unwrap();
        let text = Bytes::copy_from_slice(text.as_bytes());
        writer.append(&Line { at, stderr: false, partial: false, text }).unwrap();
    }
    if finish {
        writer.finish().unwrap();
    }
}

fn finish(face: &Face, attempt: u32) {
    let key = LogKey { pod_uid: "u".to_owned(), container: "a".to_owned(), attempt };
    face.store.logs().writer(&key).unwrap().finish().unwrap();
}

/// The stored pod gets this state of its container.
async fn show(face: &Face, status: Value) {
    let object = pod(&["a"], status);
    let expected = Expected::Revision(face.store.get(&object.key()).unwrap().unwrap().revision());
    face.store.commit(vec![Write::Update { object, expected }]).await.unwrap();
}

fn running(restarts: i32) -> Value {
    json!({"restartCount": restarts, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
}

fn ended(restarts: i32) -> Value {
    json!({"restartCount": restarts, "state": {"terminated": {"exitCode": 0, "containerID": "docker://x"}}})
}

fn waiting(reason: &str) -> Value {
    json!({"restartCount": 0, "state": {"waiting": {"reason": reason}}})
}

async fn refuses(names: &[&str], status: Value, query: &str, message: &str) {
    let face = Face::new().await;
    face.put(pod(names, status)).await;
    face.get(&path(query)).await.fails(400, "BadRequest", message);
}

#[tokio::test]
async fn the_log_of_the_only_container() {
    let face = Face::new().await;
    face.put(pod(&["a"], ended(0))).await;
    write(&face, 0, &["one", "two", "three"], true);
    let reply = face.get(&path("")).await;
    assert_eq!((reply.code, reply.body.as_str()), (200, "one\ntwo\nthree\n"));
    assert_eq!(reply.headers["content-type"], "text/plain");
    assert_eq!(face.get(&path("tailLines=1")).await.body, "three\n");
    assert_eq!(face.get(&path("limitBytes=2")).await.body, "on");
    assert_eq!(face.get(&path("sinceTime=2023-11-14T22:13:21Z")).await.body, "two\nthree\n");
    assert_eq!(face.get(&path("stream=Stderr")).await.body, "");
    assert!(face.get(&path("timestamps=true&tailLines=1")).await.body.starts_with("2023-11-14T22:13:22"));
    assert_eq!(face.get(&path("follow=true")).await.body, "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_running_containers_log_is_followed_to_its_end() {
    let face = Face::new().await;
    face.put(pod(&["a"], running(0))).await;
    let mut log = face.stream(&path("follow=true")).await;
    write(&face, 0, &["one"], false);
    assert_eq!(log.line().await.unwrap(), "one");
    finish(&face, 0);
    show(&face, ended(0)).await;
    assert_eq!(log.line().await, None);
}

#[tokio::test]
async fn a_followed_log_goes_on_with_the_runs_after_a_restart() {
    let face = Face::new().await;
    face.put(pod(&["a"], running(0))).await;
    let mut log = face.stream(&path("follow=true&tailLines=5")).await;
    let alone = [("jobdock-attempt", "one")];
    let of_one = path("follow=true");
    let one = face.send(Method::GET, &of_one, &alone, "");
    let rest = async {
        write(&face, 0, &["first"], true);
        let mut failed = ended(0);
        failed["state"]["terminated"]["exitCode"] = json!(1);
        show(&face, failed.clone()).await;
        assert_eq!(log.line().await.unwrap(), "first");
        let mut backing_off = waiting("CrashLoopBackOff");
        backing_off["lastState"] = failed["state"].clone();
        show(&face, backing_off).await;
        show(&face, running(1)).await;
        write(&face, 1, &["second"], false);
        assert_eq!(log.line().await.unwrap(), "second");
        finish(&face, 1);
        show(&face, ended(1)).await;
        assert_eq!(log.line().await, None);
    };
    let (one, ()) = tokio::join!(one, rest);
    assert_eq!(one.body, "first\n", "who asks for one run gets one");
}

#[tokio::test]
async fn following_ends_when_the_server_stops() {
    let face = Face::new().await;
    face.put(pod(&["a"], running(0))).await;
    let mut log = face.stream(&path("follow=true")).await;
    face.stop.cancel();
    assert_eq!(log.line().await, None);
}

#[tokio::test]
async fn earlier_attempts() {
    let face = Face::new().await;
    let mut status = running(2);
    status["lastState"] = json!({"terminated": {"exitCode": 1, "containerID": "docker://y"}});
    face.put(pod(&["a"], status)).await;
    write(&face, 1, &["before"], true);
    write(&face, 2, &["now"], false);
    assert_eq!(face.get(&path("")).await.body, "now\n");
    assert_eq!(face.get(&path("previous=true")).await.body, "before\n");
}

#[tokio::test]
async fn while_it_waits_to_be_restarted_the_last_attempt_is_shown() {
    let face = Face::new().await;
    let mut status = waiting("CrashLoopBackOff");
    status["restartCount"] = json!(1);
    status["lastState"] = json!({"terminated": {"exitCode": 1, "containerID": "docker://y"}});
    face.put(pod(&["a"], status)).await;
    write(&face, 1, &["last"], true);
    for query in ["", "previous=true", "follow=true"] {
        assert_eq!(face.get(&path(query)).await.body, "last\n", "{query}");
    }
}

#[tokio::test]
async fn containers_that_have_no_log_yet() {
    let says = |what: &str| format!("container \"a\" in pod \"x\" is waiting to start: {what}");
    refuses(&["a"], waiting("ContainerCreating"), "", &says("ContainerCreating")).await;
    refuses(&["a"], waiting("ErrImagePull"), "", &says("image can't be pulled")).await;
    refuses(&["a"], waiting("ImagePullBackOff"), "", &says("trying and failing to pull image")).await;
    refuses(&["a"], running(0), "previous=true", "previous terminated container \"a\" in pod \"x\" not found").await;
    refuses(&["a", "b"], running(0), "container=b", "container \"b\" in pod \"x\" is not available").await;
}

#[tokio::test]
async fn which_container_must_be_said_where_there_are_several() {
    refuses(&["a", "b"], running(0), "", "a container name must be specified for pod x, choose one of: [a b]").await;
    refuses(&["a"], running(0), "container=c", "container c is not valid for pod x").await;
}

#[tokio::test]
async fn options_are_checked() {
    let face = Face::new().await;
    face.put(pod(&["a"], running(0))).await;
    for (query, field) in
        [("tailLines=-1", "tailLines"), ("limitBytes=0", "limitBytes"), ("sinceSeconds=0", "sinceSeconds")]
    {
        assert_eq!(face.get(&path(query)).await.is(422)["details"]["causes"][0]["field"], field);
    }
    assert_eq!(face.get(&path("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z")).await.code, 422);
    assert_eq!(face.get(&path("stream=Sideways")).await.code, 422);
    assert_eq!(face.get(&path("tailLines=x")).await.code, 400);
    assert_eq!(face.get(&path("sinceTime=yesterday")).await.code, 400);
    let nobody = face.get("/api/v1/namespaces/default/pods/y/log").await;
    nobody.fails(404, "NotFound", "pods \"y\" not found");
}

#[tokio::test]
async fn a_log_with_a_gap_says_so_in_a_warning() {
    let face = Face::new().await;
    face.put(pod(&["a"], ended(0))).await;
    write(&face, 0, &["before"], false);
    let key = LogKey { pod_uid: "u".to_owned(), container: "a".to_owned(), attempt: 0 };
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    face.store.logs().writer(&key).unwrap().lose(&Gap { from: at(1), to: at(9) }).unwrap();
    write(&face, 0, &["after"], true);
    let reply = face.get(&path("")).await;
    assert_eq!(reply.body, "before\nafter\n");
    let words = "what was written from 1970-01-01T00:00:01Z to 1970-01-01T00:00:09Z is lost: the engine had dropped it \
                 before it was kept";
    assert_eq!(reply.headers["warning"].to_str().unwrap(), format!("299 - \"{words}\""));
}

#[tokio::test]
async fn a_log_whose_beginning_was_dropped_says_so_in_a_warning() {
    let face = Face::new().await;
    face.put(pod(&["a"], ended(0))).await;
    face.store.logs().limit(jobdock::store::logs::Limits { part: 1, pod: 120, total: u64::MAX });
    write(&face, 0, &["one", "two", "three", "four", "five"], true);
    let key = LogKey { pod_uid: "u".to_owned(), container: "a".to_owned(), attempt: 0 };
    let cut = async {
        while !face.store.logs().is_cut(&key).unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), cut).await.expect("the log is cut");
    let reply = face.get(&path("")).await;
    assert_eq!(reply.code, 200);
    let warning = reply.headers["warning"].to_str().unwrap();
    assert!(warning.starts_with("299 - \"the beginning of this log was dropped"), "{warning}");
}
