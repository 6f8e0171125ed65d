//! The fake engine behaves as the trait says, and as a test tells it to. Time is paused: nothing here waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use jobdock::pod::logs::follow;
use jobdock::runtime::fake::{Call, Fake, Fault, script};
use jobdock::runtime::sandbox::SANDBOX_IMAGE;
use jobdock::runtime::{ContainerSpec, Error, Hint, LABEL_POD_UID, Network, Runtime, Seen, VolumeSpec};
use jobdock::store::Store;
use jobdock::store::logs::{Gap, Line, LogKey};
use tokio_util::sync::CancellationToken;

fn spec(name: &str, shell: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        image: "busybox".to_owned(),
        labels: BTreeMap::from([(LABEL_POD_UID.to_owned(), format!("uid-{name}"))]),
        command: Some(["sh", "-c", shell].map(str::to_owned).to_vec()),
        ..ContainerSpec::default()
    }
}

fn with_env(name: &str, env: &[&str]) -> ContainerSpec {
    ContainerSpec { env: env.iter().map(|entry| (*entry).to_owned()).collect(), ..spec(name, "exit 99") }
}

fn fake() -> Fake {
    Fake::at(Timestamp::from_second(1_700_000_000).expect("a time"))
}

async fn run(fake: &Fake, spec: &ContainerSpec) {
    fake.create(spec).await.expect("creates");
    fake.start(&spec.name).await.expect("starts");
}

async fn code(fake: &Fake, name: &str) -> Option<i32> {
    match fake.inspect(name).await.expect("inspects").expect("is there").state {
        Seen::Exited { code, .. } => Some(code),
        Seen::Created { .. } | Seen::Running { .. } | Seen::Dead => None,
    }
}

async fn lines(fake: &Fake, name: &str, follow: bool) -> Vec<String> {
    let stream = fake.logs(name, None, follow).await.expect("opens");
    stream.map(|chunk| String::from_utf8_lossy(&chunk.expect("a chunk").line).into_owned()).collect().await
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_finds_less_than_it_left_notes_what_is_lost_and_else_nothing() {
    let fake = Arc::new(fake());
    run(&fake, &spec("a", "echo one; echo two")).await;
    let printed: Vec<_> =
        fake.logs("a", None, true).await.expect("opens").map(|chunk| chunk.expect("a chunk").at).collect().await;
    let kept = |at| Line { at, stderr: false, partial: false, text: "kept".into() };
    let earlier = printed[0] - SignedDuration::from_secs(60);
    let gap = Gap { from: earlier, to: printed[0] };
    for (last, expected) in [(None, vec![]), (Some(printed[0]), vec![]), (Some(earlier), vec![gap])] {
        let store = Store::in_memory().expect("a store");
        let key = LogKey { pod_uid: "u".to_owned(), container: "main".to_owned(), attempt: 0 };
        if let Some(last) = last {
            store.logs().writer(&key).and_then(|mut writer| writer.append(&kept(last))).expect("it is kept");
        }
        let told = Mutex::new(Vec::new());
        let tell = |gap: &Gap| told.lock().expect("unharmed").push(*gap);
        let engine = Arc::clone(&fake) as Arc<dyn Runtime>;
        let done =
            follow(engine, store.logs().clone(), key.clone(), "a".to_owned(), CancellationToken::new(), tell).await;
        assert!(done);
        assert_eq!(store.logs().gaps(&key).expect("readable"), expected, "{last:?}");
        assert_eq!(told.into_inner().expect("unharmed"), expected, "{last:?}");
    }
}

/// What `sh -c TEXT` prints, and how it ends: `code@milliseconds`, or `runs`.
fn shell(text: &str, env: &[&str]) -> String {
    let argv = ["sh", "-c", text].map(str::to_owned);
    let env: Vec<String> = env.iter().map(|entry| (*entry).to_owned()).collect();
    let script = script::script(&argv, &env, Some("host-7"));
    let lines: Vec<String> = script
        .lines
        .iter()
        .map(|line| {
            format!("{}{}{}", if line.stderr { "!" } else { "" }, line.text, if line.partial { "…" } else { "" })
        })
        .collect();
    let end = script.end.map_or("runs".to_owned(), |end| format!("{}@{}", end.code, end.after.as_millis()));
    format!("{} -> {end}", lines.join("|"))
}

#[test]
fn shell_text_of_sample_manifests_is_understood() {
    for (text, expected) in [
        ("exit 3", " -> 3@0"),
        ("true", " -> 0@0"),
        ("false", " -> 1@0"),
        ("sleep 2", " -> 0@2000"),
        ("sleep 0.25; exit 7", " -> 7@250"),
        ("sleep 1m && echo late", "late -> 0@60000"),
        ("sleep infinity; echo never", " -> runs"),
        ("echo hello world", "hello world -> 0@0"),
        ("echo 'two  words'; echo \"in $INDEX\"", "two  words|in 3 -> 0@0"),
        ("echo to stderr >&2", "!to stderr -> 0@0"),
        ("echo gone > /dev/null; echo kept", "kept -> 0@0"),
        ("echo first | grep x", " -> 0@0"),
        ("echo -n open", "open… -> 0@0"),
        ("printf 'a %s\\nb\\n' x", "a x|b -> 0@0"),
        ("[ $INDEX = 3 ] && exit 4; echo other", " -> 4@0"),
        ("[ $INDEX -eq 2 ] && exit 4; echo other", "other -> 0@0"),
        ("test \"$NOTHING\" || exit 5", " -> 5@0"),
        ("if [ \"$INDEX\" = \"3\" ]; then exit 42; fi", " -> 42@0"),
        (
            "if [ $INDEX -gt 5 ]\nthen\n echo big\nelif [ $INDEX -eq 3 ]; then echo three; else echo small\nfi",
            "three -> 0@0",
        ),
        ("(exit 6); echo not reached", " -> 6@0"),
        ("{ echo a; echo b; } && false", "a|b -> 1@0"),
        ("set -e; false; echo no", " -> 1@0"),
        ("set -e; false || true; echo yes", "yes -> 0@0"),
        ("A=1; export B=2; echo $A$B ${C:-3}", "12 3 -> 0@0"),
        ("false; echo code $?", "code 1 -> 0@0"),
        ("kill -9 $$", " -> 137@0"),
        ("exec sleep 3; echo no", " -> 0@3000"),
        ("hostname", "host-7 -> 0@0"),
        ("# a comment\necho done # another", "done -> 0@0"),
        ("python train.py --epochs 3", " -> 0@0"),
        ("echo $(date) now", "now -> 0@0"),
        ("missing-tool; exit $?", "!sh: missing-tool: not found -> 127@0"),
        ("sleep 5 & wait; echo out", "out -> 0@5000"),
        ("! [ $INDEX = 3 ]", " -> 1@0"),
        (&"(".repeat(10_000), " -> 0@0"),
    ] {
        assert_eq!(shell(text, &["INDEX=3"]), expected, "{text}");
    }
}

#[test]
fn the_environment_says_outright_what_happens() {
    for (env, expected) in [
        (vec!["FAKE_EXIT=3"], " -> 3@0"),
        (vec!["FAKE_EXIT=3", "FAKE_RUN_MS=100"], " -> 3@100"),
        (vec!["FAKE_RUN_MS=forever"], " -> runs"),
        (vec!["FAKE_OOM=1"], " -> 137@0"),
        (vec!["FAKE_LOG=a\nb"], "a|b -> 0@0"),
    ] {
        assert_eq!(shell("exit 99", &env), expected, "{env:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_runs_prints_and_ends_on_the_clock() {
    let fake = fake();
    run(&fake, &spec("a", "echo one; sleep 2; echo two; exit 3")).await;
    let seen = fake.inspect("a").await.expect("inspects").expect("is there");
    assert!(matches!(seen.state, Seen::Running { .. }) && seen.ip.is_some());
    assert_eq!(lines(&fake, "a", false).await, ["one"]);
    assert_eq!(lines(&fake, "a", true).await, ["one", "two"]);
    let seen = fake.inspect("a").await.expect("inspects").expect("is there");
    let Seen::Exited { code, oom_killed, error, started_at, finished_at } = seen.state else { panic!("{seen:?}") };
    assert_eq!((code, oom_killed, error), (3, false, None));
    assert_eq!(finished_at.duration_since(started_at).as_secs(), 2);
    fake.start("a").await.expect("a start of what has run succeeds");
    assert_eq!(code_of_all(&fake).await, [Some(3)]);
}

async fn code_of_all(fake: &Fake) -> Vec<Option<i32>> {
    let mut codes = Vec::new();
    for seen in fake.containers().await.expect("lists") {
        codes.push(code(fake, &seen.name).await);
    }
    codes
}

#[tokio::test(start_paused = true)]
async fn hints_begin_with_resync_and_tell_of_each_end() {
    let fake = fake();
    let mut hints = fake.hints();
    assert_eq!(hints.next().await, Some(Hint::Resync));
    run(&fake, &spec("slow", "sleep 5")).await;
    run(&fake, &spec("fast", "sleep 1")).await;
    assert_eq!(hints.next().await, Some(Hint::Pod { uid: "uid-fast".to_owned() }));
    assert_eq!(hints.next().await, Some(Hint::Pod { uid: "uid-slow".to_owned() }));
    fake.remove("slow").await.expect("removes");
    assert_eq!(hints.next().await, Some(Hint::Pod { uid: "uid-slow".to_owned() }));

    fake.drop_hints(true);
    run(&fake, &spec("quiet", "exit 1")).await;
    fake.drop_hints(false);
    run(&fake, &spec("loud", "exit 1")).await;
    assert_eq!(hints.next().await, Some(Hint::Pod { uid: "uid-loud".to_owned() }));
}

#[tokio::test(start_paused = true)]
async fn signals_end_a_container_as_its_script_says() {
    for (env, text, signal, expected) in [
        (vec![], "sleep 100", "SIGTERM", Some(143)),
        (vec![], "sleep 100", "SIGKILL", Some(137)),
        (vec![], "sleep 100", "2", Some(130)),
        (vec![], "sleep 100", "WINCH", None),
        (vec!["FAKE_TERM=ignore"], "sleep 100", "SIGTERM", None),
        (vec!["FAKE_TERM_EXIT=0"], "sleep 100", "SIGTERM", Some(0)),
        (vec!["FAKE_TERM_MS=500"], "sleep 100", "SIGTERM", None),
        (vec![], "trap 'echo bye; exit 5' TERM; sleep 100", "SIGTERM", Some(5)),
        (vec![], "trap '' TERM; sleep 100", "SIGTERM", None),
    ] {
        let fake = fake();
        let spec = ContainerSpec { env: with_env("a", &env).env, ..spec("a", text) };
        run(&fake, &spec).await;
        fake.kill("a", signal).await.expect("signals");
        assert_eq!(code(&fake, "a").await, expected, "{text} {env:?} {signal}");
        if text.contains("bye") {
            assert_eq!(lines(&fake, "a", false).await, ["bye"]);
        }
    }
    let fake = fake();
    fake.kill("nobody", "SIGTERM").await.expect("what is gone does not run");
    assert!(matches!(
        fake.create(&spec("a", "true")).await.and(fake.kill("a", "SIGFOO").await),
        Err(Error::Refused(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_answer_to_sigterm_takes_its_time() {
    let fake = fake();
    let spec = ContainerSpec { env: vec!["FAKE_TERM_MS=500".to_owned()], ..spec("a", "sleep 100") };
    run(&fake, &spec).await;
    fake.kill("a", "SIGTERM").await.expect("signals");
    fake.kill("a", "SIGTERM").await.expect("signals again");
    tokio::time::sleep(Duration::from_millis(499)).await;
    assert_eq!(code(&fake, "a").await, None);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(code(&fake, "a").await, Some(143));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_start_stays_created_with_its_error() {
    let fake = fake();
    let spec = ContainerSpec { command: Some(vec!["missing-program".to_owned()]), ..spec("a", "") };
    fake.create(&spec).await.expect("creates");
    assert!(matches!(fake.start("a").await, Err(Error::Refused(words)) if words.contains("not found")));
    let seen = fake.inspect("a").await.expect("inspects").expect("is there");
    assert!(matches!(seen.state, Seen::Created { error: Some(_) }));
}

#[tokio::test(start_paused = true)]
async fn names_are_adopted_by_their_labels_only() {
    let fake = fake();
    fake.create(&spec("a", "true")).await.expect("creates");
    fake.create(&spec("a", "true")).await.expect("adopts");
    let other = ContainerSpec { labels: BTreeMap::new(), ..spec("a", "true") };
    assert!(matches!(fake.create(&other).await, Err(Error::NameTaken(_))));
    fake.add_foreign("theirs");
    assert!(matches!(fake.create(&spec("theirs", "true")).await, Err(Error::NameTaken(_))));
    assert!(matches!(fake.remove("theirs").await, Err(Error::NameTaken(_))));
    assert_eq!(fake.inspect("theirs").await.expect("inspects"), None);
    assert_eq!(fake.containers().await.expect("lists").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn images_are_there_unless_their_name_says_otherwise() {
    let fake = fake();
    assert!(fake.image("busybox:1").await.expect("looks").is_some());
    assert!(fake.image("missing/app:1").await.expect("looks").is_none());
    assert!(matches!(fake.pull("missing/app:1", None, &|_| {}).await, Err(Error::NoImage(_))));
    fake.forget_image("app:2");
    let spec = ContainerSpec { image: "app:2".to_owned(), ..spec("a", "true") };
    assert!(matches!(fake.create(&spec).await, Err(Error::NoImage(_))));
    fake.pull("app:2", None, &|_| {}).await.expect("pulls");
    fake.create(&spec).await.expect("creates");
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_runs_until_told_and_others_join_it_while_it_runs() {
    let fake = fake();
    let image = fake.sandbox_image().await.expect("has it");
    assert_eq!(image, SANDBOX_IMAGE);
    let joined = ContainerSpec { network: Network::Container("s".to_owned()), ..spec("a", "true") };
    fake.create(&ContainerSpec { image, command: None, ..spec("s", "") }).await.expect("creates");
    fake.create(&joined).await.expect("creates");
    assert!(matches!(fake.start("a").await, Err(Error::Engine(_))));
    fake.start("s").await.expect("starts");
    fake.start("a").await.expect("starts");
    tokio::time::sleep(Duration::from_secs(100_000)).await;
    assert_eq!(code_of_all(&fake).await, [Some(0), None]);
}

#[tokio::test(start_paused = true)]
async fn faults_come_as_ordered() {
    let fake = fake();
    fake.fail_next(Call::Create, Fault::Unreachable);
    fake.fail_next(Call::Create, Fault::LoseReply);
    let spec = spec("a", "true");
    assert!(matches!(fake.create(&spec).await, Err(Error::Unreachable { .. })));
    assert!(fake.inspect("a").await.expect("inspects").is_none());
    assert!(matches!(fake.create(&spec).await, Err(Error::Unreachable { .. })));
    assert!(fake.inspect("a").await.expect("inspects").is_some(), "the effect came before the loss");
    fake.create(&spec).await.expect("adopts");
    assert_eq!(fake.calls()[&Call::Create], 3);

    fake.pause(true);
    let hanging = tokio::time::timeout(Duration::from_secs(60), fake.start("a")).await;
    assert!(hanging.is_err(), "a paused engine answers nobody");
    fake.pause(false);
    fake.start("a").await.expect("starts");
}

#[tokio::test(start_paused = true)]
async fn tests_can_end_a_container_and_restart_the_engine() {
    let fake = fake();
    for name in ["a", "b", "c"] {
        run(&fake, &spec(name, "sleep infinity")).await;
    }
    fake.finish("a", 7);
    fake.finish_oom("b");
    fake.restart(255);
    assert_eq!(code_of_all(&fake).await, [Some(7), Some(137), Some(255)]);
    let seen = fake.inspect("b").await.expect("inspects").expect("is there");
    assert!(matches!(seen.state, Seen::Exited { oom_killed: true, .. }));
}

#[tokio::test(start_paused = true)]
async fn volumes_and_uploads_are_kept() {
    let fake = fake();
    let volume = VolumeSpec { name: "v".to_owned(), ..VolumeSpec::default() };
    fake.create_volume(&volume).await.expect("creates");
    fake.create_volume(&volume).await.expect("is there");
    assert_eq!(fake.volumes().await.expect("lists").len(), 1);
    fake.remove_volume("v").await.expect("removes");
    fake.remove_volume("v").await.expect("is gone");
    assert!(matches!(fake.upload("a", "/", "tar".into()).await, Err(Error::NoContainer(_))));
    fake.create(&spec("a", "true")).await.expect("creates");
    fake.upload("a", "/config", "tar".into()).await.expect("uploads");
    assert_eq!(fake.uploads("a")["/config"], "tar");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_containers_run_side_by_side() {
    let fake = fake();
    let mut hints = fake.hints();
    assert_eq!(hints.next().await, Some(Hint::Resync));
    for number in 0..10_000 {
        run(&fake, &spec(&format!("c{number}"), &format!("sleep {}; exit {}", number % 50 + 1, number % 3))).await;
    }
    for _ in 0..10_000 {
        assert!(matches!(hints.next().await, Some(Hint::Pod { .. })));
    }
    let ended =
        fake.containers().await.expect("lists").into_iter().filter(|seen| matches!(seen.state, Seen::Exited { .. }));
    assert_eq!(ended.count(), 10_000);
}
