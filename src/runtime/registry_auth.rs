//! Owns credentials for registries: which of those that a user has fit an image, and where they come from: pull
//! Secrets (`kubernetes.io/dockerconfigjson`, `dockercfg`), docker's `config.json`, its credential helpers (EDGES D23:
//! the engine reads none of them by itself).
//! Never contacts a registry, and never logs or stores what it finds.
//!
//! [`Keyring`] is pure matching; [`of_docker_config`] does the reading and runs the helpers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::endpoint::Surroundings;
use super::reference::{DEFAULT_DOMAIN, Reference};
use super::{Error, RegistryAuth};

/// Under which name Docker Hub's credentials are kept.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Its host, by which they also match.
const HUB_HOST: &str = "index.docker.io";
/// Time for a credential helper: some ask a cloud's token service, none may hold a pod up for longer.
const HELPER_LIMIT: Duration = Duration::from_secs(30);
/// Longest answer of a helper; tokens are a few KB.
const HELPER_ANSWER_MAX: u64 = 1024 * 1024;
/// The user name by which a helper says that its secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// Credentials by registry, as a pull Secret or a `config.json` holds them.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    /// Most specific first.
    entries: Vec<(Pattern, RegistryAuth)>,
}

/// `auths` and their like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ConfigFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

/// One registry's credentials.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry(..)")
    }
}

impl Keyring {
    /// The content of `.dockerconfigjson` in a Secret of type `kubernetes.io/dockerconfigjson`.
    ///
    /// # Errors
    /// What is wrong with it, without its content.
    pub fn from_config_json(text: &[u8]) -> Result<Keyring, String> {
        let config: ConfigFile = serde_json::from_slice(text).map_err(|error| blunt(&error))?;
        Ok(Keyring::of(config.auths))
    }

    /// The content of `.dockercfg` in a Secret of type `kubernetes.io/dockercfg`: the same without `auths` around it.
    ///
    /// # Errors
    /// As [`Keyring::from_config_json`].
    pub fn from_dockercfg(text: &[u8]) -> Result<Keyring, String> {
        serde_json::from_slice(text).map(Keyring::of).map_err(|error| blunt(&error))
    }

    fn of(auths: BTreeMap<String, Entry>) -> Keyring {
        let known = |(key, entry): (String, Entry)| Some((Pattern::of(&key), credentials(&key, entry)?));
        Keyring::together([Keyring { entries: auths.into_iter().filter_map(known).collect() }])
    }

    /// Several as one; what they have under the same key is tried in their order.
    pub fn together(all: impl IntoIterator<Item = Keyring>) -> Keyring {
        let mut entries: Vec<(Pattern, RegistryAuth)> = all.into_iter().flat_map(|keyring| keyring.entries).collect();
        // Parity: the kubelet tries keys in reverse order, which puts a longer path before its shorter one.
        entries.sort_by(|(a, _), (b, _)| b.key.cmp(&a.key));
        Keyring { entries }
    }

    /// All credentials that fit an image, in the order in which to try them. Parity: the kubelet's
    /// `BasicDockerKeyring.Lookup`: by host (with `*` and `?` in each label), port and path; Docker Hub's own entry
    /// only where nothing else fits.
    pub fn matching(&self, image: &Reference) -> Vec<RegistryAuth> {
        let fits = |pattern: &Pattern| pattern.fits(&image.domain, &image.path);
        let found: Vec<RegistryAuth> =
            self.entries.iter().filter(|(pattern, _)| fits(pattern)).map(|(_, auth)| auth.clone()).collect();
        if !found.is_empty() || image.domain != DEFAULT_DOMAIN {
            return found;
        }
        let hub = self.entries.iter().filter(|(pattern, _)| pattern.key == HUB_HOST);
        hub.map(|(_, auth)| auth.clone()).collect()
    }
}

/// A parse error's place and kind; its text could quote a secret.
fn blunt(error: &serde_json::Error) -> String {
    format!("invalid credentials file (line {}, column {})", error.line(), error.column())
}

fn credentials(key: &str, entry: Entry) -> Option<RegistryAuth> {
    let encoded = entry.auth.trim_end_matches(['\n', '\0']);
    let decoded = STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).unwrap_or_default();
    let decoded = String::from_utf8(decoded).unwrap_or_default();
    let (username, password) = match decoded.split_once(':') {
        Some((username, password)) => (username.to_owned(), password.trim_end_matches('\0').to_owned()),
        None => (entry.username, entry.password),
    };
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let auth = RegistryAuth {
        username: filled(username),
        password: filled(password),
        identity_token: filled(entry.identitytoken),
        server_address: Some(key.to_owned()),
    };
    (auth.username.is_some() || auth.identity_token.is_some()).then_some(auth)
}

/// Which images a key of `auths` stands for.
#[derive(Clone, Debug)]
struct Pattern {
    /// `quay.io`, `*.example.com:5000/team`: without scheme, and without the `/v1/` that old clients wrote.
    key: String,
}

impl Pattern {
    fn of(key: &str) -> Pattern {
        let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
        let (host, path) = bare.split_at(bare.find('/').unwrap_or(bare.len()));
        let path = path.strip_prefix("/v1/").or_else(|| path.strip_prefix("/v2/")).map_or(path, |rest| rest);
        let path = path.trim_matches('/');
        Pattern { key: if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") } }
    }

    fn fits(&self, domain: &str, path: &str) -> bool {
        let (host, prefix) = self.key.split_once('/').unwrap_or((&self.key, ""));
        let (host, port) = host.split_once(':').unwrap_or((host, ""));
        let (name, its_port) = domain.split_once(':').unwrap_or((domain, ""));
        let (labels, names) = (host.split('.'), name.split('.'));
        port == its_port
            && path.starts_with(prefix)
            && labels.clone().count() == names.clone().count()
            && labels.zip(names).all(|(label, name)| glob(label.as_bytes(), name.as_bytes()))
    }
}

/// `*` is any run, `?` any one character.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => glob(rest, text) || text.split_first().is_some_and(|(_, text)| glob(pattern, text)),
        (Some((b'?', rest)), Some((_, text))) => glob(rest, text),
        (Some((a, rest)), Some((b, text))) => a == b && glob(rest, text),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The credentials that the docker command line would send for this image: from the helper of its registry or the
/// general one, else all of `auths` that fit. None where there are none, or there is no `config.json`.
///
/// # Errors
/// [`Error::Refused`] where the file cannot be read, or a helper cannot be run or fails.
pub async fn of_docker_config(around: &Surroundings, image: &Reference) -> Result<Vec<RegistryAuth>, Error> {
    let Some(path) = around.docker_dir().map(|dir| dir.join("config.json")) else { return Ok(Vec::new()) };
    let Ok(text) = tokio::fs::read(&path).await else { return Ok(Vec::new()) };
    let config: ConfigFile = serde_json::from_slice(&text)
        .map_err(|error| Error::Refused(format!("{}: {}", path.display(), blunt(&error))))?;
    let names: Vec<&str> = match image.domain.as_str() {
        DEFAULT_DOMAIN => vec![HUB_KEY, HUB_HOST, DEFAULT_DOMAIN],
        other => vec![other],
    };
    let own = names.iter().find_map(|name| config.cred_helpers.get(*name)).cloned();
    let helper = own.or_else(|| Some(config.creds_store.clone()).filter(|store| !store.is_empty()));
    if let Some(helper) = helper
        && let Some(auth) = ask_helper(around, &helper, names[0]).await?
    {
        return Ok(vec![auth]);
    }
    Ok(Keyring::of(config.auths).matching(image))
}

/// A helper's answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Runs `docker-credential-NAME get` with the registry on its standard input.
async fn ask_helper(around: &Surroundings, name: &str, server: &str) -> Result<Option<RegistryAuth>, Error> {
    let program = format!("docker-credential-{name}");
    let refuse = |problem: String| Error::Refused(format!("the credential helper {program} {problem}"));
    if name.contains('/') {
        return Err(refuse("has a name with a slash".to_owned()));
    }
    let path = in_search_path(around, &program).ok_or_else(|| refuse("is not in PATH".to_owned()))?;
    let run = async {
        let mut child = Command::new(path)
            .arg("get")
            .env_clear()
            .envs(&around.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A helper that does not read its input is judged by its answer.
            let _ = input.write_all(server.as_bytes()).await;
        }
        let mut answer = Vec::new();
        if let Some(output) = child.stdout.take() {
            output.take(HELPER_ANSWER_MAX).read_to_end(&mut answer).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, answer))
    };
    let outcome = tokio::time::timeout(HELPER_LIMIT, run)
        .await
        .map_err(|_| refuse(format!("gave no answer within {} s", HELPER_LIMIT.as_secs())))?;
    let (status, answer) = outcome.map_err(|error| refuse(format!("cannot be run: {error}")))?;
    if !status.success() {
        let words = String::from_utf8_lossy(&answer).trim().to_owned();
        // The protocol's way to say "I have none for this registry".
        return if words.contains("credentials not found") {
            Ok(None)
        } else {
            Err(refuse(format!("failed: {words}")))
        };
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&answer).map_err(|_| refuse("gave an answer that is not credentials".to_owned()))?;
    let server_address = Some(server.to_owned());
    Ok(Some(if answer.username == TOKEN_USER {
        RegistryAuth { identity_token: Some(answer.secret), server_address, ..RegistryAuth::default() }
    } else {
        RegistryAuth {
            username: Some(answer.username),
            password: Some(answer.secret),
            identity_token: None,
            server_address,
        }
    }))
}

fn in_search_path(around: &Surroundings, program: &str) -> Option<PathBuf> {
    std::env::split_paths(around.var("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}
