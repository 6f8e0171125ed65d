//! What the kept container logs promise to the node agent and to clients.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use jobdock::store::Store;
use jobdock::store::logs::{Line, LogKey, LogQuery};

fn key(pod: &str) -> LogKey {
    LogKey { pod_uid: pod.to_owned(), container: "main".to_owned(), attempt: 0 }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// `1 out hello`, `2 err oops`, `3 out+ begins`: the second, the stream, `+` where the line goes on, the text.
fn line(text: &str) -> Line {
    let mut fields = text.splitn(3, ' ');
    let second = fields.next().unwrap().parse().unwrap();
    let stream = fields.next().unwrap();
    Line {
        at: at(second),
        stderr: stream.starts_with("err"),
        partial: stream.ends_with('+'),
        text: Bytes::copy_from_slice(fields.next().unwrap_or_default().as_bytes()),
    }
}

fn write(store: &Store, lines: &[&str]) {
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    for text in lines {
        writer.append(&line(text)).unwrap();
    }
}

async fn rest(stream: Option<BoxStream<'static, std::io::Result<Bytes>>>) -> String {
    let pieces: Vec<_> = stream.expect("there is a log").map(Result::unwrap).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

async fn read(lines: &[&str], query: LogQuery) -> String {
    let store = Store::in_memory().unwrap();
    write(&store, lines);
    rest(store.logs().read(&key("uid"), query).unwrap()).await
}

const MIXED: &[&str] = &["1 out a", "2 err b", "3 out+ c1", "4 err d", "5 out c2", "6 out e"];

#[tokio::test]
async fn both_streams_come_in_order_and_parts_are_joined() {
    assert_eq!(read(MIXED, LogQuery::default()).await, "a\nb\nd\nc1c2\ne\n");
}

#[tokio::test]
async fn one_stream_alone_can_be_asked_for() {
    assert_eq!(read(MIXED, LogQuery { stderr: Some(true), ..LogQuery::default() }).await, "b\nd\n");
    assert_eq!(read(MIXED, LogQuery { stderr: Some(false), ..LogQuery::default() }).await, "a\nc1c2\ne\n");
}

#[tokio::test]
async fn a_joined_line_has_one_timestamp() {
    let lines = ["1 out+ x", "1 out+ y", "1 out z"];
    let text = read(&lines, LogQuery { timestamps: true, ..LogQuery::default() }).await;
    assert_eq!(text, "1970-01-01T00:00:01.000000000Z xyz\n");
}

#[tokio::test]
async fn since_includes_its_own_instant_and_leaves_out_the_rest_of_an_earlier_line() {
    let since = |second| LogQuery { since: Some(at(second)), ..LogQuery::default() };
    assert_eq!(read(MIXED, since(3)).await, "d\nc1c2\ne\n");
    assert_eq!(read(MIXED, since(4)).await, "d\ne\n");
    assert_eq!(read(MIXED, since(7)).await, "");
}

#[tokio::test]
async fn tail_counts_whole_lines_from_the_end() {
    let tail = |lines| LogQuery { tail_lines: Some(lines), ..LogQuery::default() };
    let lines = ["1 out a", "2 out+ b1", "3 out+ b2", "4 out b3", "5 out c"];
    assert_eq!(read(&lines, tail(0)).await, "");
    assert_eq!(read(&lines, tail(1)).await, "c\n");
    assert_eq!(read(&lines, tail(2)).await, "b1b2b3\nc\n");
    assert_eq!(read(&lines, tail(9)).await, "a\nb1b2b3\nc\n");
    let unended = ["1 out a", "2 out+ b1", "3 out+ b2"];
    assert_eq!(read(&unended, tail(1)).await, "b1b2");
    let of_stream = LogQuery { stderr: Some(true), ..tail(1) };
    assert_eq!(read(&["1 err a", "2 err b", "3 out c"], of_stream).await, "b\n");
}

#[tokio::test]
async fn the_tail_of_a_long_log_is_found_across_blocks() {
    let lines: Vec<String> = (0..20_000).map(|i| format!("{i} out line {i}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let text = read(&lines, LogQuery { tail_lines: Some(5_000), ..LogQuery::default() }).await;
    assert_eq!((text.lines().count(), text.lines().next()), (5_000, Some("line 15000")));
    assert_eq!(read(&lines, LogQuery::default()).await.lines().count(), 20_000);
}

#[tokio::test]
async fn limit_bytes_may_cut_a_line() {
    assert_eq!(read(MIXED, LogQuery { limit_bytes: Some(3), ..LogQuery::default() }).await, "a\nb");
}

#[tokio::test]
async fn a_line_of_many_mebibytes_and_any_bytes_passes() {
    let store = Store::in_memory().unwrap();
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    let part = vec![0xff; 16 << 10];
    for _ in 0..300 {
        writer.append(&Line { at: at(1), stderr: false, partial: true, text: part.clone().into() }).unwrap();
    }
    writer.append(&line("1 out end")).unwrap();
    assert_eq!(writer.last(false), Some((at(1), 301)));
    let stream = store.logs().read(&key("uid"), LogQuery::default()).unwrap().unwrap();
    let bytes: Vec<u8> = stream.map(Result::unwrap).collect::<Vec<_>>().await.concat();
    assert_eq!(bytes.len(), 300 * (16 << 10) + 4);
}

#[tokio::test]
async fn a_log_that_never_was_is_none() {
    let store = Store::in_memory().unwrap();
    assert!(store.logs().read(&key("uid"), LogQuery::default()).unwrap().is_none());
    assert!(!store.logs().finished(&key("uid")));
}

#[tokio::test]
async fn names_cannot_leave_the_directory() {
    let store = Store::in_memory().unwrap();
    for pod in ["..", "../x", "a/b", "", ".hidden"] {
        assert!(store.logs().writer(&key(pod)).is_err(), "{pod:?}");
        assert!(store.logs().remove(pod).is_err(), "{pod:?}");
        assert!(store.logs().read(&key(pod), LogQuery::default()).is_err(), "{pod:?}");
    }
}

#[tokio::test]
async fn a_torn_last_line_is_cut_by_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, &["1 out a", "2 out b", "2 err c"]);
    let path = dir.path().join("pods/uid/main/0.log");
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"1970-01-01T00:00:02.000000000Z stdout F to").unwrap();
    assert_eq!(rest(store.logs().read(&key("uid"), LogQuery::default()).unwrap()).await, "a\nb\nc\n");
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    assert_eq!(writer.last(false), Some((at(2), 1)));
    assert_eq!(writer.last(true), Some((at(2), 1)), "each stream has its own end");
    writer.append(&line("3 out d")).unwrap();
    assert_eq!(writer.last(false), Some((at(3), 1)));
    assert_eq!(rest(store.logs().read(&key("uid"), LogQuery::default()).unwrap()).await, "a\nb\nc\nd\n");
}

#[tokio::test]
async fn each_stream_is_resumed_where_it_left_off() {
    let store = Store::in_memory().unwrap();
    write(&store, &["1 err a", "5 out b", "5 out c", "3 err d"]);
    let writer = store.logs().writer(&key("uid")).unwrap();
    assert_eq!((writer.last(false), writer.last(true)), (Some((at(5), 2)), Some((at(3), 1))));
}

#[tokio::test]
async fn a_stream_long_silent_does_not_make_a_resumed_copy_read_everything_again() {
    let store = Store::in_memory().unwrap();
    write(&store, &["1 err a", "100 out b"]);
    let writer = store.logs().writer(&key("uid")).unwrap();
    assert_eq!((writer.last(false), writer.last(true)), (Some((at(100), 1)), None));
}

#[tokio::test]
async fn a_log_of_nothing_but_a_torn_line_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let path = dir.path().join("pods/uid/main");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("0.log"), "1970-01-01T00").unwrap();
    let writer = store.logs().writer(&key("uid")).unwrap();
    assert_eq!((writer.last(false), writer.last(true)), (None, None));
    assert_eq!(std::fs::read(path.join("0.log")).unwrap(), b"");
}

#[tokio::test]
async fn finished_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    write(&store, &["1 out a"]);
    assert!(!store.logs().finished(&key("uid")));
    store.logs().writer(&key("uid")).unwrap().finish().unwrap();
    assert!(store.logs().finished(&key("uid")));
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert!(store.logs().finished(&key("uid")));
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    assert_eq!(rest(store.logs().read(&key("uid"), follow).unwrap()).await, "a\n");
}

async fn piece(stream: &mut BoxStream<'static, std::io::Result<Bytes>>) -> Option<String> {
    let piece = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("the stream goes on");
    piece.map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn a_follower_waits_for_the_log_for_each_line_and_for_the_end() {
    let store = Store::in_memory().unwrap();
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = store.logs().read(&key("uid"), follow).unwrap().unwrap();
    let reading = tokio::spawn(async move {
        let first = piece(&mut stream).await;
        (first, stream)
    });
    tokio::task::yield_now().await;
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    writer.append(&line("1 out a")).unwrap();
    let (first, mut stream) = reading.await.unwrap();
    assert_eq!(first.as_deref(), Some("a\n"));
    writer.append(&line("2 out b")).unwrap();
    assert_eq!(piece(&mut stream).await.as_deref(), Some("b\n"));
    drop(writer);
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    writer.append(&line("3 out+ c")).unwrap();
    writer.finish().unwrap();
    assert_eq!(piece(&mut stream).await.as_deref(), Some("c"), "the end shows a line without an end");
    assert_eq!(piece(&mut stream).await, None);
}

#[tokio::test]
async fn a_follower_of_the_tail_gets_the_tail_and_what_comes() {
    let store = Store::in_memory().unwrap();
    write(&store, &["1 out a", "2 out b"]);
    let follow = LogQuery { follow: true, tail_lines: Some(1), ..LogQuery::default() };
    let mut stream = store.logs().read(&key("uid"), follow).unwrap().unwrap();
    assert_eq!(piece(&mut stream).await.as_deref(), Some("b\n"));
    write(&store, &["3 out c"]);
    assert_eq!(piece(&mut stream).await.as_deref(), Some("c\n"));
}

#[tokio::test]
async fn removal_ends_followers_and_forgets_the_log() {
    let store = Store::in_memory().unwrap();
    write(&store, &["1 out a"]);
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let mut stream = store.logs().read(&key("uid"), follow).unwrap().unwrap();
    assert_eq!(piece(&mut stream).await.as_deref(), Some("a\n"));
    let writer = store.logs().writer(&key("uid")).unwrap();
    assert_eq!(store.logs().pods().unwrap(), ["uid"]);
    store.logs().remove("uid").unwrap();
    assert!(store.logs().pods().unwrap().is_empty());
    store.logs().remove("uid").unwrap();
    assert_eq!(piece(&mut stream).await, None);
    assert!(store.logs().read(&key("uid"), LogQuery::default()).unwrap().is_none());
    writer.finish().unwrap();
    assert!(!store.logs().finished(&key("uid")));
}
