//! Exec, attach and port-forward over WebSockets, byte by byte, against the fake engine. The real kubectl speaks SPDY and
//! WebSockets in `streams`.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http::StatusCode;
use jiff::Timestamp;
use jobdock::api::{ApiState, Listeners, serve};
use jobdock::model::object::Object;
use jobdock::runtime::fake::{Call, Fake};
use jobdock::runtime::session::SessionId;
use jobdock::runtime::{ContainerSpec, Runtime};
use jobdock::store::logs::{Line, LogKey};
use jobdock::store::{Store, Write};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come; only a failure takes that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API on a unix socket, over one pod with a running and an ended container.
struct Site {
    dir: TempDir,
    fake: Fake,
    stop: CancellationToken,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Site {
    async fn new() -> Self {
        Self::with(true).await
    }

    async fn with(runtime: bool) -> Self {
        let (dir, fake, store) = (tempfile::tempdir().unwrap(), Fake::new(), Store::in_memory().unwrap());
        let command = Some(["sleep", "infinity"].map(str::to_owned).to_vec());
        let (name, image) = ("engine-main".to_owned(), "busybox".to_owned());
        fake.create(&ContainerSpec { name, image, command, ..ContainerSpec::default() }).await.unwrap();
        fake.start("engine-main").await.unwrap();
        let id = fake.inspect("engine-main").await.unwrap().unwrap().id;
        let key = LogKey { pod_uid: "uid-of-p".to_owned(), container: "ended".to_owned(), attempt: 0 };
        let mut log = store.logs().writer(&key).unwrap();
        log.append(&Line { at: Timestamp::UNIX_EPOCH, stderr: false, partial: false, text: "said".into() }).unwrap();
        log.finish().unwrap();
        for pod in [pod("p", "node", &id), pod("nowhere", "", &id)] {
            store.commit(vec![Write::Create(Object::new(pod))]).await.unwrap();
        }
        let stop = CancellationToken::new();
        let listeners = Listeners::bind(dir.path(), Some(&dir.path().join("api.sock")), None).await.unwrap();
        let runtime = runtime.then(|| Arc::new(fake.clone()) as Arc<dyn Runtime>);
        let state = ApiState::new(store, stop.clone()).with_runtime(runtime);
        tokio::spawn(serve(state, listeners, stop.clone()));
        Self { dir, fake, stop }
    }

    async fn open(&self, path: &str, protocols: &str) -> Result<Socket, tungstenite::Error> {
        let socket = self.connect(&format!("pods/{path}"), protocols).await?;
        Ok(Socket { socket, base64: protocols.contains("base64") })
    }

    async fn connect(&self, path: &str, protocols: &str) -> Result<WebSocketStream<UnixStream>, tungstenite::Error> {
        let mut request = format!("ws://localhost/api/v1/namespaces/default/{path}").into_client_request()?;
        if !protocols.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        }
        let stream = UnixStream::connect(self.dir.path().join("api.sock")).await?;
        let (socket, response) = client_async(request, stream).await?;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        Ok(socket)
    }

    /// What a request for an exec of the pod is answered before there is a conversation.
    async fn refuses(&self, path: &str, protocols: &str) -> (u16, String) {
        match self.open(path, protocols).await {
            Err(tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                (response.status().as_u16(), String::from_utf8(body).unwrap().trim_end().to_owned())
            }
            Err(other) => panic!("{path}: {other}"),
            Ok(_) => panic!("{path} was not refused"),
        }
    }

    fn calls(&self, call: Call) -> u64 {
        self.fake.calls().get(&call).copied().unwrap_or_default()
    }
}

fn pod(name: &str, node: &str, engine_id: &str) -> Pod {
    let statuses = [
        json!({"name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0,
               "containerID": format!("fake://{engine_id}"), "state": {"running": {}}}),
        json!({"name": "ended", "image": "", "imageID": "", "ready": false, "restartCount": 0,
               "containerID": "fake://1", "state": {"terminated": {"exitCode": 0}}}),
    ];
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-of-{name}")},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "i"}, {"name": "ended", "image": "i"}]},
        "status": {"phase": "Running", "containerStatuses": statuses},
    }))
    .unwrap()
}

struct Socket {
    socket: WebSocketStream<UnixStream>,
    base64: bool,
}

impl Socket {
    async fn say(&mut self, channel: u8, bytes: &[u8]) {
        let message = match self.base64 {
            true => Message::text(format!("{channel}{}", base64(bytes))),
            false => Message::binary([&[channel], bytes].concat()),
        };
        self.socket.send(message).await.unwrap();
    }

    /// The next message: its channel, its bytes; none at the end.
    async fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server speaks");
            match message? {
                Ok(Message::Binary(bytes)) => return Some((bytes[0], bytes[1..].to_vec())),
                Ok(Message::Text(text)) => return Some((text.as_bytes()[0] - b'0', plain(&text[1..]))),
                Ok(Message::Close(frame)) => {
                    assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1000));
                    return None;
                }
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// All that is left, joined by channel.
    async fn rest(&mut self) -> [String; 4] {
        let mut all: [Vec<u8>; 4] = Default::default();
        while let Some((channel, bytes)) = self.hear().await {
            all[usize::from(channel)].extend(bytes);
        }
        all.map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    BASE64_STANDARD.encode(bytes)
}

fn plain(text: &str) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    BASE64_STANDARD.decode(text).unwrap()
}

const BOTH: &str = "p/exec?container=main&stdout=1&stderr=1&command=sh&command=-c&command=";

#[tokio::test]
async fn every_protocol_tells_the_output_and_the_end() {
    let site = Site::new().await;
    for (protocol, detailed) in [
        ("v5.channel.k8s.io", true),
        ("v4.channel.k8s.io", true),
        ("v4.base64.channel.k8s.io", true),
        ("channel.k8s.io", false),
        ("base64.channel.k8s.io", false),
        ("", false),
        ("v9.channel.k8s.io, v4.channel.k8s.io", true),
    ] {
        let path = format!("{BOTH}echo%20one;echo%20two%3E%262;exit%203");
        let mut socket = site.open(&path, protocol).await.unwrap();
        assert_eq!(socket.hear().await, Some((1, Vec::new())), "{protocol}: the connection is there");
        let [_, out, err, end] = socket.rest().await;
        assert_eq!((out.as_str(), err.as_str()), ("one\n", "two\n"), "{protocol}");
        let words = "command terminated with non-zero exit code: command terminated with exit code 3";
        if detailed {
            let status: Value = serde_json::from_str(&end).unwrap();
            assert_eq!((&status["status"], &status["reason"]), (&json!("Failure"), &json!("NonZeroExitCode")));
            assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]), "{protocol}");
            assert_eq!(status["message"], words);
        } else {
            assert_eq!(end, words, "{protocol}");
        }

        let mut socket = site.open(&format!("{BOTH}true"), protocol).await.unwrap();
        let [.., end] = socket.rest().await;
        assert_eq!(end, if detailed { r#"{"metadata":{},"status":"Success"}"# } else { "" }, "{protocol}");
    }
}

/// All messages up to the end.
async fn all(mut socket: WebSocketStream<UnixStream>) -> Vec<Message> {
    let mut heard = Vec::new();
    while let Some(message) = tokio::time::timeout(PATIENCE, socket.next()).await.expect("the server speaks") {
        match message.unwrap() {
            Message::Close(frame) => assert_eq!(frame.map(|frame| u16::from(frame.code)), Some(1000)),
            other => heard.push(other),
        }
    }
    heard
}

#[tokio::test]
async fn a_watch_over_a_websocket_is_texts_of_events() {
    let site = Site::new().await;
    for protocol in ["", "base64.channel.k8s.io"] {
        let socket = site.connect("pods?watch=true&timeoutSeconds=1", protocol).await.unwrap();
        let names: Vec<Value> = all(socket)
            .await
            .into_iter()
            .map(|message| {
                let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
                assert!(message.is_text() && event["type"] == "ADDED", "{event}");
                event["object"]["metadata"]["name"].clone()
            })
            .collect();
        assert_eq!(names, ["nowhere", "p"], "{protocol}");
    }
    let refused = site.connect("pods?watch=true&labelSelector=%3D", "").await;
    assert!(matches!(refused, Err(tungstenite::Error::Http(answer)) if answer.status() == 400));
}

#[tokio::test]
async fn a_log_over_a_websocket_is_bytes_after_an_empty_message() {
    let site = Site::new().await;
    let path = "pods/p/log?container=ended";
    for (protocol, expected) in [
        ("", [Message::binary(""), Message::binary("said\n")]),
        ("binary.k8s.io", [Message::binary(""), Message::binary("said\n")]),
        ("base64.binary.k8s.io", [Message::text(""), Message::text(base64(b"said\n"))]),
    ] {
        assert_eq!(all(site.connect(path, protocol).await.unwrap()).await, expected, "{protocol}");
    }
    let refused = site.connect(path, "v4.channel.k8s.io").await;
    assert!(
        matches!(refused, Err(tungstenite::Error::Http(answer)) if answer.status() == 403 || answer.status() == 400)
    );
}

#[tokio::test]
async fn input_is_read_until_its_channel_is_closed() {
    let site = Site::new().await;
    let path = "p/exec?container=main&stdin=true&stdout=true&command=cat";
    for protocol in ["v5.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let mut socket = site.open(path, protocol).await.unwrap();
        assert_eq!(socket.hear().await, Some((1, Vec::new())));
        socket.say(0, b"said").await;
        assert_eq!(socket.hear().await, Some((1, b"said".to_vec())), "{protocol}");
        // To channels that are not read, or are none.
        socket.say(7, b"nobody").await;
        socket.say(0, b"").await;
        if protocol.starts_with("v5") {
            socket.say(255, &[0]).await;
            assert_eq!(socket.rest().await[3], r#"{"metadata":{},"status":"Success"}"#);
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_ends_what_it_began() {
    let site = Site::new().await;
    let path = "p/exec?container=main&stdin=1&stdout=1&tty=1&command=sleep&command=infinity";
    let mut socket = site.open(path, "v5.channel.k8s.io").await.unwrap();
    assert_eq!(socket.hear().await, Some((1, Vec::new())));
    socket.say(4, br#"{"Width":80,"Height":24}"#).await;
    let id = SessionId::Exec("engine-main.0".to_owned());
    until(|| site.fake.sizes(&id) == [(24, 80)]).await;
    drop(socket);
    until(|| site.calls(Call::SignalExec) == 1).await;
    assert_eq!(site.fake.exec_exit(&id).await.unwrap(), Some(129), "its terminal hung up");
}

async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to hold");
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let site = Site::new().await;
    let mut socket = site.open(&format!("{BOTH}sleep%20infinity"), "v4.channel.k8s.io").await.unwrap();
    assert_eq!(socket.hear().await, Some((1, Vec::new())));
    site.stop.cancel();
    let status: Value = serde_json::from_str(&socket.rest().await[3]).unwrap();
    assert_eq!(status["message"], "Internal error occurred: jobdock is shutting down");
}

#[tokio::test]
async fn a_container_that_ended_meanwhile_is_told_on_the_error_channel() {
    let site = Site::new().await;
    site.fake.finish("engine-main", 0);
    for (path, message) in [
        (format!("{BOTH}true"), "error executing command in container: Container "),
        ("p/attach?container=main&stdout=1".to_owned(), "error attaching to container: Container "),
    ] {
        let mut socket = site.open(&path, "v4.channel.k8s.io").await.unwrap();
        let status: Value = serde_json::from_str(&socket.rest().await[3]).unwrap();
        let told = status["message"].as_str().unwrap();
        assert!(told.starts_with(&format!("Internal error occurred: {message}")), "{told}");
        assert!(told.ends_with(" is not running"), "{told}");
    }
}

#[tokio::test]
async fn an_attach_ends_with_its_container() {
    let site = Site::new().await;
    let mut socket = site.open("p/attach?container=main&stdout=1", "v5.channel.k8s.io").await.unwrap();
    assert_eq!(socket.hear().await, Some((1, Vec::new())));
    until(|| site.calls(Call::Attach) == 1).await;
    site.fake.finish("engine-main", 5);
    assert_eq!(socket.rest().await[3], r#"{"metadata":{},"status":"Success"}"#);
}

#[tokio::test]
async fn a_request_that_cannot_be_is_refused_as_upstream_refuses_it() {
    let site = Site::new().await;
    let v4 = "v4.channel.k8s.io";
    for (path, protocols, code, words) in [
        ("gone/exec?stdout=1", v4, 404, "pods \\\"gone\\\" not found"),
        ("p/exec?stdout=1", v4, 400, "a container name must be specified for pod p, choose one of: [main ended]"),
        ("p/exec?stdout=1&container=other", v4, 400, "container other is not valid for pod p"),
        ("nowhere/exec?stdout=1&container=main", v4, 400, "pod nowhere does not have a host assigned"),
        ("p/exec?container=main", v4, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("p/attach?container=main&tty=1&stderr=1", v4, 400, "you must specify at least 1 of stdin, stdout, stderr"),
        ("p/exec?stdout=1&container=ended", v4, 500, "container not found (\"ended\")"),
        ("p/attach?stdout=1&container=ended", v4, 500, "container ended not found in pod p_default"),
        ("p/exec?stdout=1&container=main", "v3.channel.k8s.io", 403, "requested protocol(s) are not supported"),
        ("p/portforward", v4, 400, "query parameter \"ports\" is required"),
        ("p/portforward?ports=", v4, 400, "query parameter \"ports\" cannot be empty"),
        ("p/portforward?ports=80,0", v4, 400, "port \"80,0\" must be > 0"),
        ("p/portforward?ports=http", v4, 400, "unable to parse \"http\" as a port"),
    ] {
        let (told, text) = site.refuses(path, protocols).await;
        assert_eq!(told, code, "{path}: {text}");
        assert!(text.contains(words), "{path}: {text}");
    }
    let without = Site::with(false).await;
    let (code, text) = without.refuses("p/exec?container=main&stdout=1", v4).await;
    assert_eq!(code, 500, "{text}");
    assert!(text.contains("error dialing backend: this jobdock runs no pods"), "{text}");
}

#[tokio::test]
async fn a_request_without_an_upgrade_is_told_that_it_needs_one() {
    let face = super::face::Face::new().await;
    face.put(Object::new(pod("p", "node", "1"))).await;
    for subresource in ["exec?container=main&stdout=1", "attach?container=main&stdout=1", "portforward"] {
        let reply = face.get(&format!("/api/v1/namespaces/default/pods/p/{subresource}")).await;
        reply.fails(400, "BadRequest", "Upgrade request required");
    }
    face.delete("/api/v1/namespaces/default/pods/p/exec").await.is(405);
    face.get("/api/v1/namespaces/default/configmaps/p/exec").await.is(404);
}

#[tokio::test]
async fn ports_have_two_channels_each() {
    let site = Site::new().await;
    for protocol in ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"] {
        let mut socket = site.open("p/portforward?ports=8080,1", protocol).await.unwrap();
        let mut firsts = Vec::new();
        let mut refusal = None;
        while firsts.len() < 4 || refusal.is_none() {
            match socket.hear().await.unwrap() {
                (channel, bytes) if bytes.len() == 2 => firsts.push((channel, bytes)),
                other => refusal = Some(other),
            }
        }
        firsts.sort();
        let port = |channel, port: u16| (channel, port.to_le_bytes().to_vec());
        assert_eq!(firsts, [port(0, 8080), port(1, 8080), port(2, 1), port(3, 1)]);
        let (channel, words) = refusal.unwrap();
        let words = String::from_utf8(words).unwrap();
        assert_eq!(channel, 3, "{words}");
        assert!(
            words.starts_with("error forwarding port 1 to pod p, uid uid-of-p: cannot connect to port 1"),
            "{words}"
        );
        socket.say(0, b"to the port and back").await;
        assert_eq!(socket.hear().await, Some((0, b"to the port and back".to_vec())), "{protocol}");
    }
}
