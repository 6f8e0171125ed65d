//! What probes do and what their results come to, case by case.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Container;

use super::{Check, Kind, Tally, Target, Watch, watch};

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn read(kind: Kind, probe: &str) -> Watch {
    let text = format!(
        "{{name: main, ports: [{{name: web, containerPort: 8080}}], env: [{{name: A, value: x}}, {{name: B, valueFrom: \
         {{fieldRef: {{fieldPath: metadata.name}}}}}}], startupProbe: {probe}, readinessProbe: {probe}, livenessProbe: {probe}}}"
    );
    let container: Container = serde_saphyr::from_str(&text).expect("a container");
    let target = Target { container: &container, name: "run", ip: "10.0.0.1" };
    watch(kind, kind.of(&container).expect("a probe"), target, at(100), false)
}

#[test]
fn a_probe_looks_where_the_kubelet_looks() {
    let http = |url: &str| Check::Http { url: url.to_owned(), headers: Vec::new() };
    let tcp = |host: &str, port| Check::Tcp { host: host.to_owned(), port };
    let impossible = |words: &str| Check::Impossible { words: words.to_owned() };
    for (probe, expected) in [
        ("{httpGet: {port: 80}}", http("http://10.0.0.1:80/")),
        ("{httpGet: {port: web, path: /a?b=c}}", http("http://10.0.0.1:8080/a?b=c")),
        ("{httpGet: {port: '81', path: a, scheme: HTTPS}}", http("https://10.0.0.1:81/a")),
        ("{httpGet: {port: 80, host: '::1'}}", http("http://[::1]:80/")),
        ("{httpGet: {port: none}}", impossible("strconv.Atoi: parsing \"none\": invalid syntax")),
        ("{httpGet: {port: 70000}}", impossible("invalid port number: 70000")),
        ("{tcpSocket: {port: web}}", tcp("10.0.0.1", 8080)),
        ("{tcpSocket: {port: 1, host: other}}", tcp("other", 1)),
        (
            "{grpc: {port: 5, service: s}}",
            Check::Grpc { host: "10.0.0.1".to_owned(), port: 5, service: "s".to_owned() },
        ),
        (
            "{exec: {command: [cat, $(A), $(B), $$(A)]}}",
            Check::Exec { name: "run".to_owned(), command: ["cat", "x", "$(B)", "$(A)"].map(str::to_owned).to_vec() },
        ),
        ("{}", impossible("missing probe handler for container main")),
    ] {
        assert_eq!(read(Kind::Liveness, probe).check, expected, "{probe}");
    }
}

#[test]
fn looks_begin_after_the_delay_and_with_the_period() {
    for (kind, probe, first, early) in [
        (Kind::Readiness, "{}", 100, None),
        (Kind::Readiness, "{initialDelaySeconds: 7}", 107, None),
        (Kind::Liveness, "{}", 110, None),
        (Kind::Liveness, "{periodSeconds: 2, initialDelaySeconds: 7}", 107, None),
        (Kind::Startup, "{}", 110, Some(100)),
        (Kind::Startup, "{periodSeconds: 3, initialDelaySeconds: 1}", 103, Some(101)),
        (Kind::Startup, "{periodSeconds: 3, initialDelaySeconds: 4}", 104, None),
    ] {
        let watch = read(kind, probe);
        assert_eq!((watch.first, watch.early), (at(first), early.map(at)), "{kind:?} {probe}");
    }
}

#[test]
fn only_a_row_of_equal_results_counts() {
    for (probe, results, expected) in [
        ("{failureThreshold: 3}", "---", "..-"),
        ("{failureThreshold: 3}", "--+---", "..+..-"),
        ("{successThreshold: 2}", "++-++", ".+..+"),
        ("{successThreshold: 2, failureThreshold: 1}", "+-++", ".-.+"),
        ("{failureThreshold: 1}", "-+-", "-+-"),
    ] {
        let watch = read(Kind::Readiness, probe);
        let mut tally = Tally::default();
        let told: String = results
            .chars()
            .map(|result| match tally.count(result == '+', &watch) {
                Some(true) => '+',
                Some(false) => '-',
                None => '.',
            })
            .collect();
        assert_eq!(told, expected, "{probe} {results}");
    }
}
