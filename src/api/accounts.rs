//! Owns what a bearer token is worth: the administrator's, or a service account's that still exists.
//! Never decides what its bearer may do: `access` does.
//!
//! Parity: upstream's service account token authenticator: account, pod and secret must be those that the token names.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use sha2::{Digest, Sha256};

use super::caller::Caller;
use super::error::Problem;
use crate::model::object::{Key, Object, Resource};
use crate::store::Store;
use crate::token::{self, Bound, Claims, ISSUER, Signer};

/// Who bears which token.
#[derive(Clone)]
pub struct Accounts {
    store: Store,
    /// Digest of the administrator's token, so that comparing takes the same time whatever was sent.
    admin: Option<[u8; 32]>,
    /// Signs and checks service accounts' tokens; none where there are no such.
    signer: Option<Signer>,
    /// Whether service accounts may call at all.
    open: bool,
}

/// Whose a token is.
pub struct Bearer {
    /// The user.
    pub caller: Caller,
    /// Which of the audiences that were asked for it is for.
    pub audiences: Vec<String>,
}

impl Accounts {
    /// Nobody's tokens yet.
    pub fn new(store: Store) -> Self {
        Self { store, admin: None, signer: None, open: true }
    }

    /// The same, with this administrator's token.
    #[must_use]
    pub fn with_admin(self, token: &str) -> Self {
        Self { admin: Some(digest(token)), ..self }
    }

    /// The same, with service accounts' tokens; `open` says whether their bearers may call.
    #[must_use]
    pub fn with_signer(self, signer: Signer, open: bool) -> Self {
        Self { signer: Some(signer), open, ..self }
    }

    /// What signs service accounts' tokens.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// The caller who bears a token.
    pub fn caller(&self, token: &str) -> Option<Caller> {
        let bearer = self.bearer(token, &[ISSUER.to_owned()]).ok()?;
        (self.open || bearer.caller.is_master()).then_some(bearer.caller)
    }

    /// Whose a token is; else why it is nobody's.
    pub fn bearer(&self, token: &str, audiences: &[String]) -> Result<Bearer, String> {
        if self.admin.as_ref().is_some_and(|admin| same(&digest(token), admin)) {
            return Ok(Bearer { caller: Caller::admin(), audiences: Vec::new() });
        }
        let signer = self.signer.as_ref().ok_or_else(|| token::Invalid::Foreign.to_string())?;
        let claims = signer.check(token, Timestamp::now()).map_err(|error| error.to_string())?;
        let shared: Vec<String> = claims.aud.iter().filter(|one| audiences.contains(one)).cloned().collect();
        if shared.is_empty() {
            return Err(format!("token audiences {:?} is invalid for the target audiences {audiences:?}", claims.aud));
        }
        self.stands(&claims)?;
        Ok(Bearer { caller: caller(&claims), audiences: shared })
    }

    /// Whether everything that a token names is still there.
    fn stands(&self, claims: &Claims) -> Result<(), String> {
        let subject = &claims.subject;
        self.find::<ServiceAccount>(&subject.namespace, &subject.serviceaccount)
            .ok_or("service account token has been invalidated")?;
        let pod = subject.pod.as_ref().is_none_or(|pod| self.find::<Pod>(&subject.namespace, pod).is_some());
        let secret = subject.secret.as_ref().is_none_or(|it| self.find::<Secret>(&subject.namespace, it).is_some());
        if pod && secret { Ok(()) } else { Err("service account token has been invalidated".to_owned()) }
    }

    fn find<T: Resource>(&self, namespace: &str, bound: &Bound) -> Option<Object> {
        let found = self.store.get(&Key::of::<T>(namespace, &bound.name)).ok().flatten()?;
        (found.uid() == bound.uid).then_some(found)
    }

    /// [`Accounts::signer`], or what to tell a client where there is none.
    pub fn require_signer(&self) -> Result<&Signer, Problem> {
        self.signer.as_ref().ok_or_else(|| Problem::not_implemented("serviceaccounts/token without a signing key"))
    }
}

fn caller(claims: &Claims) -> Caller {
    let subject = &claims.subject;
    let mut caller = Caller::known(&claims.sub, token::groups(&subject.namespace));
    caller.uid.clone_from(&subject.serviceaccount.uid);
    let mut tell = |name: &str, value: &str| {
        caller.extra.insert(format!("authentication.kubernetes.io/{name}"), vec![value.to_owned()]);
    };
    tell("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &subject.pod {
        tell("pod-name", &pod.name);
        tell("pod-uid", &pod.uid);
    }
    if let Some(node) = &subject.node {
        tell("node-name", &node.name);
        tell("node-uid", &node.uid);
    }
    caller
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Compares in constant time.
fn same(left: &[u8; 32], right: &[u8; 32]) -> bool {
    left.iter().zip(right).fold(0, |difference, (left, right)| difference | (left ^ right)) == 0
}
