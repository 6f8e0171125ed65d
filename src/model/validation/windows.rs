//! Owns the rules of Windows options, which jobdock never runs but answers as upstream does.
//!
//! Parity: core's `validateWindowsSecurityContextOptions` and `validateWindowsHostProcessPod` at 1.32.

use k8s_openapi::api::core::v1::{PodSpec, WindowsSecurityContextOptions};

use super::{each_container, names};
use crate::model::field::{Errors, Path};

/// Size limit of a credential spec, in KiB.
const CREDENTIAL_SPEC_KIB: usize = 64;
/// A user's domain is shorter than this, in bytes.
const DOMAIN_LIMIT: usize = 256;
/// Longest user name without its domain, in bytes.
const USER_MAX: usize = 104;
/// Longest NetBIOS domain, in characters.
const NETBIOS_MAX: usize = 15;

/// The options of a pod or a container.
pub fn options(errors: &mut Errors, options: Option<&WindowsSecurityContextOptions>, path: &Path<'_>) {
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        errors.invalid_each(&path.child("gmsaCredentialSpecName"), name, names::dns_subdomain(name));
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let path = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid(&path, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > CREDENTIAL_SPEC_KIB * 1024 {
            errors.invalid(&path, spec, &format!("gmsaCredentialSpec size must be under {CREDENTIAL_SPEC_KIB} KiB"));
        }
    }
    if let Some(name) = &options.run_as_user_name {
        for words in user_name(name) {
            errors.invalid(&path.child("runAsUserName"), name, &words);
        }
    }
}

/// What is wrong with `DOMAIN\user`.
fn user_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string".to_owned()];
    }
    if name.contains(|letter: char| letter.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters".to_owned()];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, rest)) if rest.contains('\\') => {
            return vec!["runAsUserName cannot contain more than one backslash".to_owned()];
        }
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let mut wrong = Vec::new();
    if domain.is_some_and(|domain| domain.len() >= DOMAIN_LIMIT) {
        wrong.push(format!("runAsUserName's Domain length must be under {DOMAIN_LIMIT} characters"));
    }
    if domain.is_some_and(|domain| !is_netbios(domain) && !is_dns(domain)) {
        wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".to_owned());
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty".to_owned());
    } else if user.len() > USER_MAX {
        wrong.push(format!("runAsUserName's User length must not be longer than {USER_MAX} characters"));
    }
    if !user.is_empty() && user.chars().all(|letter| matches!(letter, '.' | ' ')) {
        wrong.push("runAsUserName's User cannot contain only periods or spaces".to_owned());
    }
    if user.contains(|letter| r#""/\:;|=,+*?<>@[]"#.contains(letter)) {
        let words = r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#;
        wrong.push(words.to_owned());
    }
    wrong
}

fn is_netbios(domain: &str) -> bool {
    let fits = !domain.contains(|letter| r#"\/:*?"<>|"#.contains(letter));
    (1..=NETBIOS_MAX).contains(&domain.chars().count()) && fits && !domain.starts_with('.')
}

fn is_dns(domain: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    domain.split('.').all(|label| {
        (1..=names::LABEL_MAX).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// Either all containers of a pod are host processes or none is.
pub fn host_process(errors: &mut Errors, spec: &PodSpec, path: &Path<'_>) {
    let of_pod = spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    let of_pod = of_pod.and_then(|options| options.host_process);
    let (mut all, mut host) = (0, 0);
    each_container(spec, path, |container, path| {
        all += 1;
        let own = container.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
        let own = own.and_then(|options| options.host_process);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let path = path.child("securityContext.windowsOptions.hostProcess");
            let words = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&path, &own, &words);
        }
        if own.or(of_pod) == Some(true) {
            host += 1;
        }
    });
    if host == 0 {
        return;
    }
    if host != all {
        let words = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, &"", words);
    }
    if spec.host_network != Some(true) {
        let words = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), &false, words);
    }
}
