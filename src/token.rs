//! Owns service account tokens: who they speak for, how they are signed, and whether one is ours and still good.
//! Never looks into the store: whether the account and the pod still exist is the asker's to find out. The key is handed
//! in; where it is kept is the API's matter.
//!
//! A token is a JWT, signed with ES256. Parity: `pkg/serviceaccount/claims.go`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use rcgen::PublicKeyData as _;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Who issues tokens, and whom they are for unless something else is asked. Parity: kubeadm's default.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// What every account's user name begins with.
const USER_PREFIX: &str = "system:serviceaccount:";
/// Longest token that is looked at: ours are a fraction of it.
const LONGEST: usize = 16 * 1024;
/// The marker byte and the two coordinates of a P-256 public key.
const POINT: usize = 65;

/// An object that a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What a token says under `kubernetes.io`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The account's namespace.
    pub namespace: String,
    /// The node of the pod, where the token is a pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    /// The pod that the token goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    /// The secret that the token goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    /// The account.
    pub serviceaccount: Bound,
}

/// Everything that a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Whom it is for.
    pub aud: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// Its own name.
    pub jti: String,
    /// Whom it speaks for.
    #[serde(rename = "kubernetes.io")]
    pub subject: Subject,
    /// From when it holds.
    pub nbf: i64,
    /// The account's user name.
    pub sub: String,
}

/// What a token is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whom it speaks for.
    pub subject: Subject,
    /// Whom it is for; the API where empty.
    pub audiences: Vec<String>,
    /// How long it holds, in seconds.
    pub seconds: i64,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not a P-256 key.
    #[error("the key of service account tokens cannot be used: {0}")]
    Key(String),
    /// No randomness for a signature.
    #[error("a token could not be signed")]
    Signing,
}

/// Why a token is not taken. What it says of itself is not to be believed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is no token of ours at all.
    #[error("invalid bearer token")]
    Foreign,
    /// Its time is over.
    #[error("invalid bearer token, service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("invalid bearer token, service account token is not valid yet")]
    Early,
}

/// Signs and checks tokens; clones share the key.
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    key: EcdsaKeyPair,
    /// Name of the key in tokens' headers and in the published set.
    id: String,
    random: SystemRandom,
}

impl Signer {
    /// A signer with this key (PKCS #8 as PEM).
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let key = rcgen::KeyPair::from_pem(pem).map_err(|error| Error::Key(error.to_string()))?;
        Self::of(&key)
    }

    /// A signer with a key of its own, which nobody else will know.
    pub fn fresh() -> Result<Self, Error> {
        Self::of(&rcgen::KeyPair::generate().map_err(|error| Error::Key(error.to_string()))?)
    }

    fn of(key: &rcgen::KeyPair) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der(), &random)
            .map_err(|error| Error::Key(error.to_string()))?;
        // Parity: the digest of the public key, as upstream names keys.
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(key.subject_public_key_info()));
        Ok(Self(Arc::new(Inner { key: pair, id, random })))
    }

    /// A token and the time of its end.
    pub fn issue(&self, request: &Request, now: Timestamp) -> Result<(String, Timestamp), Error> {
        let subject = request.subject.clone();
        let end = now + SignedDuration::from_secs(request.seconds);
        let claims = Claims {
            aud: if request.audiences.is_empty() { vec![ISSUER.to_owned()] } else { request.audiences.clone() },
            exp: end.as_second(),
            iat: now.as_second(),
            iss: ISSUER.to_owned(),
            jti: uuid::Uuid::new_v4().to_string(),
            nbf: now.as_second(),
            sub: user_name(&subject.namespace, &subject.serviceaccount.name),
            subject,
        };
        let header = json!({"alg": "ES256", "kid": self.0.id});
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = self.0.key.sign(&self.0.random, text.as_bytes()).map_err(|_| Error::Signing)?;
        Ok((format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)), end))
    }

    /// What a token of ours says, if it holds now. Whom it is for is the asker's to judge.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<Claims, Invalid> {
        if token.len() > LONGEST {
            return Err(Invalid::Foreign);
        }
        let claims = self.verified(token).ok_or(Invalid::Foreign)?;
        match now.as_second() {
            second if claims.exp <= second => Err(Invalid::Expired),
            second if claims.nbf > second => Err(Invalid::Early),
            _ => Ok(claims),
        }
    }

    fn verified(&self, token: &str) -> Option<Claims> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let read = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&read(header)?).ok()?;
        if header["alg"] != "ES256" || header["kid"] != self.0.id.as_str() {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.0.key.public_key().as_ref());
        public.verify(text.as_bytes(), &read(signature)?).ok()?;
        let claims: Claims = serde_json::from_slice(&read(claims)?).ok()?;
        (claims.iss == ISSUER).then_some(claims)
    }

    /// The public key as a JSON Web Key Set.
    pub fn keys(&self) -> Value {
        let point = self.0.key.public_key().as_ref();
        debug_assert_eq!(point.len(), POINT, "an uncompressed point");
        let (x, y) = point[1..].split_at(POINT / 2);
        json!({"keys": [{
            "use": "sig",
            "kty": "EC",
            "kid": self.0.id,
            "crv": "P-256",
            "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

fn part(value: &impl Serialize) -> String {
    // Plain data with text keys.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

/// What OpenID Connect clients ask for first.
pub fn discovery() -> Value {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// The user name of an account.
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("{USER_PREFIX}{namespace}:{name}")
}

/// Namespace and name of the account of this user name.
pub fn account_of(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(USER_PREFIX)?
        .split_once(':')
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
}

/// The groups of every account of a namespace.
pub fn groups(namespace: &str) -> Vec<String> {
    vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(seconds: i64) -> Request {
        let serviceaccount = Bound { name: "x".to_owned(), uid: "u".to_owned() };
        let subject = Subject { namespace: "ns".to_owned(), node: None, pod: None, secret: None, serviceaccount };
        Request { subject, audiences: Vec::new(), seconds }
    }

    #[test]
    fn a_token_says_what_it_was_asked_to_until_its_end() {
        let signer = Signer::fresh().unwrap();
        let now = Timestamp::from_second(1_000_000).unwrap();
        let (token, end) = signer.issue(&request(600), now).unwrap();
        let claims = signer.check(&token, now).unwrap();
        assert_eq!((claims.sub.as_str(), claims.aud[0].as_str()), ("system:serviceaccount:ns:x", ISSUER));
        assert_eq!(end.as_second(), 1_000_600);
        assert_eq!(signer.check(&token, end), Err(Invalid::Expired));
        assert_eq!(signer.check(&token, now - SignedDuration::from_secs(1)), Err(Invalid::Early));
    }

    #[test]
    fn nothing_else_is_a_token() {
        let (signer, other) = (Signer::fresh().unwrap(), Signer::fresh().unwrap());
        let now = Timestamp::UNIX_EPOCH;
        let (token, _) = signer.issue(&request(600), now).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let forged = part(&json!({"alg": "none", "kid": signer.0.id}));
        let altered = parts[1].replace(&parts[1][4..5], if &parts[1][4..5] == "A" { "B" } else { "A" });
        for wrong in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{forged}.{}.", parts[1]),
            format!("{}.{altered}.{}", parts[0], parts[2]),
            format!("{}.{}.{}", parts[0], parts[1], "AAAA"),
            "x".repeat(LONGEST + 1),
            other.issue(&request(600), now).unwrap().0,
        ] {
            assert_eq!(signer.check(&wrong, now), Err(Invalid::Foreign), "{wrong}");
        }
        assert!(signer.check(&token, now).is_ok());
    }
}
