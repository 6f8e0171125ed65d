//! PURE. Owns what podman reads otherwise than Docker, seen on podman 5.8: each wish is said in the words that it
//! understands.
//! Never adds a wish of its own.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, VolumeCreateRequest};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

/// The same container, in podman's words.
pub fn worded(mut body: ContainerCreateBody, seccomp_file: Option<&str>) -> ContainerCreateBody {
    if let Some(host) = &mut body.host_config {
        name_profile(host, seccomp_file);
        unmask(host);
        share_hostname(host);
        bind_volumes(host);
    }
    body
}

/// Docker is sent the profile, podman opens the file itself.
fn name_profile(host: &mut HostConfig, file: Option<&str>) {
    for option in host.security_opt.iter_mut().flatten() {
        if let Some(file) = file.filter(|_| option.starts_with("seccomp=")) {
            *option = format!("seccomp={file}");
        }
    }
}

/// Docker takes empty lists of paths for none, podman for its own.
fn unmask(host: &mut HostConfig) {
    if host.masked_paths.as_ref().is_some_and(Vec::is_empty) {
        host.security_opt.get_or_insert_default().push("unmask=ALL".to_owned());
    }
}

/// Docker gives a container that joins another's network the other's hostname as well; podman gives it one of its own,
/// unless it joins that namespace too (which Docker cannot).
fn share_hostname(host: &mut HostConfig) {
    if let Some(mode) = host.network_mode.as_ref().filter(|mode| mode.starts_with("container:")) {
        host.uts_mode = Some(mode.clone());
    }
}

/// Podman does not read `NoCopy` in a mount and fills an empty volume with the image's files; in a bind it does. A path
/// in a container has no colon (the API server's own rule), so none is torn apart here.
fn bind_volumes(host: &mut HostConfig) {
    let mounts = host.mounts.take().unwrap_or_default();
    let (whole, other): (Vec<Mount>, Vec<Mount>) = mounts.into_iter().partition(is_whole_volume);
    host.mounts = (!other.is_empty()).then_some(other);
    let binds: Vec<String> = whole.iter().map(bind).collect();
    host.binds = (!binds.is_empty()).then_some(binds);
}

fn is_whole_volume(mount: &Mount) -> bool {
    mount.typ == Some(MountType::VOLUME)
        && mount.volume_options.as_ref().is_none_or(|options| options.subpath.is_none())
}

/// `NAME:/target:nocopy,ro`.
fn bind(mount: &Mount) -> String {
    let [source, target] = [&mount.source, &mount.target].map(|side| side.as_deref().unwrap_or_default());
    let read_only = if mount.read_only == Some(true) { ",ro" } else { "" };
    format!("{source}:{target}:nocopy{read_only}")
}

/// The same volume. Podman gives a volume to the user of the first container that runs with it, unless told whose it
/// is; Docker leaves it to root, and so do we.
pub fn worded_volume(mut body: VolumeCreateRequest) -> VolumeCreateRequest {
    // One with options is a memory file system, and those options say what it is like.
    let plain = || [("o".to_owned(), "uid=0,gid=0".to_owned())].into();
    body.driver_opts = body.driver_opts.or_else(|| Some(plain()));
    body
}

/// A time as podman's `since` of a log reads it. Of seconds with a fraction it loses the last digits, and it gives what
/// came after the time, where Docker begins with the time itself.
pub fn since(at: Timestamp) -> String {
    at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at).to_string()
}

/// Archives and where each goes.
pub type Parts = Result<Vec<(String, Bytes)>, Box<dyn Error + Send + Sync>>;

/// An archive that goes to `base`, by places: podman unpacks into one file system only, and does not see the volumes
/// that are mounted below it. `mounts` are the paths of those.
///
/// # Errors
/// The archive is none.
pub fn by_mount(base: &str, archive: &[u8], mounts: &[String]) -> Parts {
    let mut places: BTreeMap<String, tar::Builder<Vec<u8>>> = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let whole = Path::new(base).join(entry.path()?);
        let holds = |mount: &&String| whole.starts_with(mount) && Path::new(mount).starts_with(base);
        let place = mounts.iter().filter(holds).max_by_key(|mount| mount.len()).map_or(base, String::as_str);
        let below = whole.strip_prefix(place)?;
        let below = if below.as_os_str().is_empty() { PathBuf::from("./") } else { below.to_owned() };
        let builder = places.entry(place.to_owned()).or_insert_with(|| tar::Builder::new(Vec::new()));
        match entry.link_name()? {
            Some(link) => builder.append_link(&mut entry.header().clone(), below, link)?,
            None => builder.append_data(&mut entry.header().clone(), below, &mut entry)?,
        }
    }
    places.into_iter().map(|(place, builder)| Ok((place, builder.into_inner()?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use super::{by_mount, worded};
    use crate::runtime::{ContainerSpec, Mount, MountSource, Network, convert};

    #[test]
    fn a_container_is_described_in_podmans_words() {
        let mount = |source, target: &str, read_only| Mount {
            source,
            target: target.to_owned(),
            read_only,
            ..Mount::default()
        };
        let spec = ContainerSpec {
            network: Network::Container("holder".to_owned()),
            mounts: vec![
                mount(MountSource::Volume("one".to_owned()), "/one", false),
                mount(MountSource::Volume("two".to_owned()), "/two", true),
                mount(MountSource::Bind("/dir".into()), "/three", true),
            ],
            security_opts: vec!["seccomp={}".to_owned(), "label=disable".to_owned()],
            unmasked: true,
            ..ContainerSpec::default()
        };
        let host = worded(convert::create_body(&spec, "store"), Some("/file")).host_config.expect("there is one");
        assert_eq!(host.security_opt.unwrap_or_default(), ["seccomp=/file", "label=disable", "unmask=ALL"]);
        assert_eq!(host.uts_mode.as_deref(), Some("container:holder"));
        assert_eq!(host.binds, Some(vec!["one:/one:nocopy".to_owned(), "two:/two:nocopy,ro".to_owned()]));
        assert_eq!(host.mounts.map(|mounts| mounts.len()), Some(1), "binds of directories stay mounts");

        let plain = convert::create_body(&ContainerSpec::default(), "store");
        let host = worded(plain, None).host_config.expect("there is one");
        assert_eq!((host.uts_mode, host.binds, host.mounts), (None, None, None));
    }

    #[test]
    fn a_log_is_taken_up_at_its_last_instant() {
        let at = jiff::Timestamp::new(1_700_000_000, 123_456_789).expect("a time");
        assert_eq!(super::since(at), "2023-11-14T22:13:20.123456788Z");
    }

    #[test]
    fn an_archive_is_divided_by_what_is_mounted() {
        let mut archive = tar::Builder::new(Vec::new());
        for path in ["v/one/", "v/one/sub/", "v/two/", "other/"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            header.set_mode(0o777);
            archive.append_data(&mut header, path, &b""[..]).expect("an entry");
        }
        let archive = archive.into_inner().expect("an archive");
        let mounts = ["/v/one".to_owned(), "/v/two".to_owned(), "/elsewhere".to_owned()];
        let parts = by_mount("/", &archive, &mounts).expect("it is an archive");
        let told: Vec<String> = parts
            .iter()
            .map(|(place, part)| {
                let mut part = tar::Archive::new(&part[..]);
                let paths = part
                    .entries()
                    .expect("entries")
                    .map(|entry| entry.expect("one").path().expect("a path").display().to_string());
                format!("{place}: {}", paths.collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(told, ["/: other", "/v/one: ./ sub", "/v/two: ./"], "entries keep their type, not the slash");
    }
}
