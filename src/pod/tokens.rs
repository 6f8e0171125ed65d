//! PURE. Owns which service account tokens a pod's volumes hold, when they are to be replaced, and where the API is told
//! to be. Never signs one: `observe` has them signed.
//!
//! Parity: the kubelet's token manager: a token is replaced after four fifths of its life, or a day.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PodSpec, Volume};

/// Oldest token that a pod may hold.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);
/// Life of a token that says nothing of it. Parity: the API's default.
pub const DEFAULT_SECONDS: i64 = 3600;

/// A token as a volume asks for it: its audience (empty for the API) and its life in seconds.
pub type Wanted = (String, i64);

/// One address of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its IP.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Where the API can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// From this machine, and so from pods on its network.
    pub host: Option<Address>,
    /// From containers with a network of their own.
    pub containers: Option<Address>,
}

impl Reach {
    /// From a pod.
    pub fn from_pod(&self, spec: &PodSpec) -> Option<&Address> {
        if spec.host_network == Some(true) { self.host.as_ref() } else { self.containers.as_ref() }
    }
}

/// The tokens that a volume holds.
pub fn of_volume(volume: &Volume) -> impl Iterator<Item = Wanted> {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    sources
        .filter_map(|source| source.service_account_token.as_ref())
        .map(|token| (token.audience.clone().unwrap_or_default(), token.expiration_seconds.unwrap_or(DEFAULT_SECONDS)))
}

/// The tokens that a pod holds.
pub fn of_pod(spec: &PodSpec) -> impl Iterator<Item = Wanted> {
    spec.volumes.iter().flatten().flat_map(of_volume)
}

/// When the tokens that a pod was given at `issued` are to be replaced; none where it has none.
pub fn due(spec: &PodSpec, issued: Timestamp) -> Option<Timestamp> {
    let life = of_pod(spec).map(|(_, seconds)| SignedDuration::from_secs(seconds)).min()?;
    Some(issued + (life * 4 / 5).min(OLDEST))
}

/// Variables by which clients inside a pod find the API. Parity: those of the service `kubernetes`, as far as clients
/// read them; only pods that hold a token get them.
pub fn environment(spec: &PodSpec, reach: &Reach) -> Vec<(&'static str, String)> {
    let Some(address) = reach.from_pod(spec).filter(|_| of_pod(spec).next().is_some()) else { return Vec::new() };
    let (host, port) = (address.host.clone(), address.port.to_string());
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    vec![
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", port.clone()),
        ("KUBERNETES_SERVICE_PORT_HTTPS", port.clone()),
        ("KUBERNETES_PORT", format!("tcp://{bracketed}:{port}")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(seconds: i64, host: bool) -> PodSpec {
        let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": seconds}});
        let volumes = json!([{"name": "t", "projected": {"sources": [token]}}]);
        serde_json::from_value(json!({"containers": [], "hostNetwork": host, "volumes": volumes})).unwrap()
    }

    #[test]
    fn a_token_is_replaced_after_four_fifths_of_its_life_or_a_day() {
        for (seconds, after) in [(600, 480), (3600, 2880), (1_000_000, 86_400)] {
            let due = due(&spec(seconds, false), Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(due.as_second(), after, "{seconds}");
        }
        assert_eq!(due(&PodSpec::default(), Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn a_pod_is_told_of_the_api_where_it_can_reach_it() {
        let address = |host: &str| Some(Address { host: host.to_owned(), port: 7443 });
        let told = |spec: &PodSpec, reach: &Reach| -> Vec<String> {
            environment(spec, reach).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
        };
        let local = Reach { host: address("127.0.0.1"), containers: None };
        let both = Reach { host: address("127.0.0.1"), containers: address("172.17.0.1") };
        let six = Reach { host: None, containers: address("fd00::1") };
        let (own, host) = (spec(600, false), spec(600, true));
        assert!(told(&own, &local).is_empty());
        assert_eq!(told(&host, &local)[0], "KUBERNETES_SERVICE_HOST=127.0.0.1");
        assert_eq!(told(&own, &both)[0], "KUBERNETES_SERVICE_HOST=172.17.0.1");
        assert_eq!(told(&own, &six)[3], "KUBERNETES_PORT=tcp://[fd00::1]:7443");
        assert!(told(&PodSpec::default(), &both).is_empty(), "it holds no token");
    }
}
