//! What the kept container logs promise to the node agent and to clients.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use jobdock::store::Store;
use jobdock::store::logs::{Limits, Line, LogKey, LogQuery};

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

const NO_LIMIT: u64 = u64::MAX;

/// A log of a thousand numbered lines in parts of a few of them.
fn in_parts(store: &Store, limits: Limits) {
    store.logs().limit(limits);
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    for second in 0..1000 {
        writer.append(&line(&format!("{second} out line {second}"))).unwrap();
    }
}

const PARTS: Limits = Limits { part: 2_000, pod: NO_LIMIT, total: NO_LIMIT };

fn numbered(from: u32) -> String {
    (from..1000).map(|number| format!("line {number}\n")).collect()
}

/// Waits until the keeper has done what `done` looks for among the files of the log.
async fn until_kept(dir: &std::path::Path, done: impl Fn(&[String]) -> bool) {
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(dir.join("pods/uid/main")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let waiting = async {
        while !done(&names()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap_or_else(|_| panic!("{:?}", names()));
}

#[tokio::test]
async fn a_log_in_parts_reads_as_one_whether_they_are_compressed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    in_parts(&store, PARTS);
    assert_eq!(rest(store.logs().read(&key("uid"), LogQuery::default()).unwrap()).await, numbered(0));
    until_kept(dir.path(), |names| names.iter().any(|name| name.ends_with(".gz"))).await;
    for tail in [0, 1, 20, 21, 500, 999, 1000, 2000] {
        let query = LogQuery { tail_lines: Some(tail), ..LogQuery::default() };
        let from = 1000 - u32::try_from(tail).unwrap().min(1000);
        assert_eq!(rest(store.logs().read(&key("uid"), query).unwrap()).await, numbered(from), "the last {tail}");
    }
    let since = LogQuery { since: Some(at(700)), ..LogQuery::default() };
    assert_eq!(rest(store.logs().read(&key("uid"), since).unwrap()).await, numbered(700));
    assert!(!store.logs().is_cut(&key("uid")).unwrap());
}

#[tokio::test]
async fn a_follower_goes_on_from_part_to_part() {
    let store = Store::in_memory().unwrap();
    store.logs().limit(PARTS);
    let follow = LogQuery { follow: true, ..LogQuery::default() };
    let following = tokio::spawn(rest(store.logs().read(&key("uid"), follow).unwrap()));
    let mut writer = store.logs().writer(&key("uid")).unwrap();
    for second in 0..1000 {
        writer.append(&line(&format!("{second} out line {second}"))).unwrap();
        tokio::task::yield_now().await;
    }
    writer.finish().unwrap();
    assert_eq!(following.await.unwrap(), numbered(0));
}

#[tokio::test]
async fn a_line_whose_pieces_stand_in_two_parts_is_joined() {
    let store = Store::in_memory().unwrap();
    store.logs().limit(Limits { part: 1, ..PARTS });
    write(&store, &["1 err x", "2 out+ a", "3 out+ b", "4 out c"]);
    assert_eq!(rest(store.logs().read(&key("uid"), LogQuery::default()).unwrap()).await, "x\nabc\n");
    let tail = LogQuery { tail_lines: Some(1), ..LogQuery::default() };
    assert_eq!(rest(store.logs().read(&key("uid"), tail).unwrap()).await, "abc\n");
}

#[tokio::test]
async fn a_copy_is_resumed_by_what_stands_in_earlier_parts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.logs().limit(Limits { part: 1, ..PARTS });
    write(&store, &["4 out a", "5 err b", "5 out c", "5 out d"]);
    // The process died between making the next part and writing to it.
    let path = dir.path().join("pods/uid/main");
    std::fs::rename(path.join("0.log"), path.join("0.log.4")).unwrap();
    let writer = store.logs().writer(&key("uid")).unwrap();
    assert_eq!((writer.last(false), writer.last(true)), (Some((at(5), 2)), Some((at(5), 1))));
}

#[tokio::test]
async fn a_pod_over_its_limit_loses_its_oldest_parts_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    in_parts(&store, Limits { pod: 4_000, ..PARTS });
    until_kept(dir.path(), |names| names.iter().any(|name| name == "0.dropped")).await;
    assert!(store.logs().is_cut(&key("uid")).unwrap());
    // Parts go while it is read; once that is over, what is left is the end without a gap.
    let kept = async {
        loop {
            let text = rest(store.logs().read(&key("uid"), LogQuery::default()).unwrap()).await;
            if numbered(1).ends_with(&text) && text.ends_with("line 999\n") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), kept).await.expect("the log's end is kept without a gap");
}

#[tokio::test]
async fn all_logs_together_lose_the_one_that_ended_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for pod in ["first", "second", "live"] {
        let mut writer = store.logs().writer(&key(pod)).unwrap();
        writer.append(&line(&format!("1 out {}", "x".repeat(1000)))).unwrap();
        if pod != "live" {
            writer.finish().unwrap();
        }
        let done = dir.path().join("pods").join(pod).join("main/0.done");
        let ended = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(if pod == "first" { 1 } else { 2 });
        if pod != "live" {
            std::fs::File::open(done).unwrap().set_modified(ended).unwrap();
        }
    }
    store.logs().limit(Limits { part: 1 << 20, pod: NO_LIMIT, total: 2_500 });
    let dropped = async {
        while !store.logs().is_cut(&key("first")).unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), dropped).await.unwrap();
    for (pod, cut) in [("second", false), ("live", false), ("first", true)] {
        assert_eq!(store.logs().is_cut(&key(pod)).unwrap(), cut, "{pod}");
    }
    let emptied = async {
        while !rest(store.logs().read(&key("first"), LogQuery::default()).unwrap()).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), emptied).await.unwrap();
    assert!(store.logs().finished(&key("first")));
}
