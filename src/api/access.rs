//! Owns what a caller may do: administrators everything, service accounts what their fixed role says, everybody who is
//! known may ask about themselves and read what the API offers. PURE.
//! Never knows who is calling: `guard` finds that out.
//!
//! Differs: there are no Roles and RoleBindings. Parity in content: upstream's cluster role `edit`, in the account's own
//! namespace.

use serde_json::{Value, json};

use super::caller::Caller;
use crate::token;

/// What somebody wants to do with objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// `get`, `list`, `create`, …
    pub verb: String,
    /// API group, empty for the core.
    pub group: String,
    /// `pods`.
    pub resource: String,
    /// `log`; empty for the object itself.
    pub subresource: String,
    /// Empty for all namespaces and for cluster-scoped kinds.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
}

impl Ask {
    /// The resource with its subresource: `pods/log`.
    pub fn path(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

/// One sentence of a role.
struct Rule {
    verbs: &'static [&'static str],
    group: &'static str,
    resources: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update", "get", "list", "watch"];
const CREATE: &[&str] = &["create"];

/// What a service account may do in its own namespace.
const OWN_NAMESPACE: &[Rule] = &[
    Rule {
        verbs: WRITE,
        group: "",
        resources: &[
            "configmaps",
            "endpoints",
            "events",
            "persistentvolumeclaims",
            "pods",
            "pods/attach",
            "pods/exec",
            "pods/portforward",
            "podtemplates",
            "secrets",
            "serviceaccounts",
            "services",
        ],
    },
    Rule { verbs: CREATE, group: "", resources: &["pods/eviction", "serviceaccounts/token"] },
    Rule {
        verbs: READ,
        group: "",
        resources: &[
            "limitranges",
            "namespaces",
            "namespaces/status",
            "persistentvolumeclaims/status",
            "pods/log",
            "pods/status",
            "resourcequotas",
            "resourcequotas/status",
            "services/status",
        ],
    },
    Rule { verbs: WRITE, group: "batch", resources: &["cronjobs", "jobs"] },
    Rule { verbs: READ, group: "batch", resources: &["cronjobs/status", "jobs/status"] },
    Rule { verbs: WRITE, group: "coordination.k8s.io", resources: &["leases"] },
    Rule { verbs: WRITE, group: "events.k8s.io", resources: &["events"] },
    Rule { verbs: READ, group: "discovery.k8s.io", resources: &["endpointslices"] },
];
/// What a service account may read anywhere.
const EVERYWHERE: &[Rule] = &[Rule { verbs: READ, group: "", resources: &["nodes"] }];
/// What everybody who is known may ask.
const ABOUT_ONESELF: &[Rule] = &[
    Rule { verbs: CREATE, group: "authentication.k8s.io", resources: &["selfsubjectreviews"] },
    Rule {
        verbs: CREATE,
        group: "authorization.k8s.io",
        resources: &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
    },
];
/// Paths that everybody who is known may read. Parity: `system:discovery`.
const DISCOVERY: &[&str] =
    &["/api", "/apis", "/openapi", "/openid", "/.well-known", "/version", "/livez", "/readyz", "/healthz"];

/// Whether a caller may do it.
pub fn allows(caller: &Caller, ask: &Ask) -> bool {
    caller.is_master() || rules(caller, &ask.namespace).any(|rule| rule.covers(ask))
}

/// Whether a caller may read a page that is no resource.
pub fn allows_path(caller: &Caller, verb: &str, path: &str) -> bool {
    let open = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    caller.is_master() || (verb == "get" && is_known(caller) && DISCOVERY.iter().any(|root| open(root)))
}

fn is_known(caller: &Caller) -> bool {
    caller.groups.iter().any(|group| group == "system:authenticated")
}

fn rules<'a>(caller: &'a Caller, namespace: &str) -> impl Iterator<Item = &'static Rule> + use<'a> {
    let account = token::account_of(&caller.name);
    let own = account.is_some_and(|(own, _)| own == namespace);
    let none: &[Rule] = &[];
    [
        if own { OWN_NAMESPACE } else { none },
        if account.is_some() { EVERYWHERE } else { none },
        if is_known(caller) { ABOUT_ONESELF } else { none },
    ]
    .into_iter()
    .flatten()
}

impl Rule {
    fn covers(&self, ask: &Ask) -> bool {
        let path = ask.path();
        self.group == ask.group
            && self.verbs.contains(&ask.verb.as_str())
            && self.resources.iter().any(|known| **known == path)
    }
}

/// A caller's rules in a namespace, as the status of a `SelfSubjectRulesReview`.
pub fn rules_status(caller: &Caller, namespace: &str) -> Value {
    if caller.is_master() {
        return json!({
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": false,
        });
    }
    let resources: Vec<Value> = rules(caller, namespace)
        .map(|rule| json!({"verbs": rule.verbs, "apiGroups": [rule.group], "resources": rule.resources}))
        .collect();
    let paths = DISCOVERY.iter().flat_map(|root| [(*root).to_owned(), format!("{root}/*")]);
    let paths: Vec<Value> =
        paths.filter(|_| is_known(caller)).map(|path| json!({"verbs": ["get"], "nonResourceURLs": [path]})).collect();
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Caller {
        Caller::known(&token::user_name("ns", "x"), token::groups("ns"))
    }

    /// `verb group/resource namespace`
    fn ask(text: &str) -> Ask {
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (verb, what, namespace) = (word(), word(), word());
        let (group, path) = what.split_once(':').unwrap_or(("", &what));
        let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
        let [group, resource, subresource] = [group, resource, subresource].map(str::to_owned);
        Ask { verb, group, resource, subresource, namespace, name: String::new() }
    }

    #[test]
    fn a_service_account_edits_its_own_namespace_and_nothing_else() {
        for (text, allowed) in [
            ("create batch:jobs ns", true),
            ("create batch:jobs other", false),
            ("list pods ns", true),
            ("list pods", false),
            ("get pods/log ns", true),
            ("create pods/exec ns", true),
            ("update pods/status ns", false),
            ("create pods/eviction ns", true),
            ("create pods/binding ns", false),
            ("create serviceaccounts/token ns", true),
            ("get secrets ns", true),
            ("create resourcequotas ns", false),
            ("list resourcequotas ns", true),
            ("get namespaces ns", true),
            ("delete namespaces ns", false),
            ("list namespaces", false),
            ("list nodes", true),
            ("delete nodes", false),
            ("create authorization.k8s.io:selfsubjectaccessreviews", true),
            ("create authorization.k8s.io:subjectaccessreviews", false),
            ("create authentication.k8s.io:tokenreviews", false),
        ] {
            assert_eq!(allows(&account(), &ask(text)), allowed, "{text}");
            assert!(allows(&Caller::admin(), &ask(text)), "{text}");
            assert!(!allows(&Caller::anonymous(), &ask(text)), "{text}");
        }
    }

    #[test]
    fn pages_of_discovery_are_for_everybody_who_is_known() {
        for (path, allowed) in
            [("/api", true), ("/apis/batch/v1", true), ("/openapi/v3", true), ("/apisx", false), ("/metrics", false)]
        {
            assert_eq!(allows_path(&account(), "get", path), allowed, "{path}");
            assert!(!allows_path(&Caller::anonymous(), "get", path), "{path}");
        }
        assert!(!allows_path(&account(), "post", "/api"));
    }
}
