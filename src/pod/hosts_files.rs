//! Owns the writing of pods' hosts files, and their keeping up to date while Services and pods come and go.
//! Never decides what stands in one: `hosts` does.
//!
//! A file is rewritten in place, because containers have it mounted and would keep an exchanged one's predecessor. It is
//! written with one call, filled up with empty lines to its old length and then cut, so that a reader never meets the
//! rest of an old line.

use std::collections::HashMap;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::core::{Core, Error};
use super::hosts::Zone;
use super::memory::HostsMemory;
use super::volumes;
use crate::model::kind::Kind;
use crate::model::object::Resource;
use crate::model::service as meaning;
use crate::store::{Query, Store};

/// The file in a pod's directory. Parity: the kubelet's name for it.
pub const NAME: &str = "etc-hosts";
/// Anyone may read it, whoever a container runs as.
const MODE: u32 = 0o644;
/// Changes that come together are written together.
const BATCH: Duration = Duration::from_millis(10);
/// The machine's own file.
const MACHINE: &str = "/etc/hosts";
/// The Service of the API itself, which names nothing that a pod has to find by a hosts file.
const OWN_SERVICE: &str = "kubernetes";

/// Where a pod's file is.
pub fn path(pod_dir: &Path) -> PathBuf {
    pod_dir.join(NAME)
}

/// The machine's own file, for pods in its network.
pub fn machine() -> String {
    std::fs::read_to_string(MACHINE).unwrap_or_default()
}

/// Whether the namespace has a Service that pods may look for.
pub fn has_services(store: &Store, namespace: &str) -> Result<bool, Error> {
    // The API's own is one, so two are enough to know.
    let query = Query { namespace: Some(namespace), limit: Some(2), ..Query::all(Kind::of::<Service>()) };
    Ok(store.list(&query)?.objects.iter().any(|object| object.key().name != OWN_SERVICE))
}

/// Writes a pod's file for the first time, or with another head, and keeps it from then on.
pub async fn adopt(core: &Core, uid: &str, namespace: &str, head: String) -> Result<(), Error> {
    let _turn = core.hosts_turn.lock().await;
    let text = format!("{head}{}", zone(core)?.lines(namespace));
    let dir = core.pods_dir.join(uid);
    volumes::private_dir(&dir)?;
    let path = path(&dir);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(&path)?;
    // The process's umask does not apply to what a container may do.
    file.set_permissions(Permissions::from_mode(MODE))?;
    drop(file);
    rewrite(&path, &text)?;
    core.memories.with(uid, |memory| {
        memory.hosts = Some(HostsMemory { namespace: namespace.to_owned(), head });
    });
    Ok(())
}

/// Rewrites files whenever somebody has said that names changed.
pub async fn keep(core: &Core) {
    loop {
        core.names_changed.notified().await;
        tokio::time::sleep(BATCH).await;
        if let Err(error) = refresh(core).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "hosts files are written later");
        }
    }
}

async fn refresh(core: &Core) -> Result<(), Error> {
    let _turn = core.hosts_turn.lock().await;
    let kept = core.memories.hosts();
    if kept.is_empty() {
        return Ok(());
    }
    let zone = zone(core)?;
    let mut lines: HashMap<String, String> = HashMap::new();
    for (uid, hosts) in kept {
        let names = lines.entry(hosts.namespace.clone()).or_insert_with(|| zone.lines(&hosts.namespace));
        match rewrite(&path(&core.pods_dir.join(uid)), &format!("{}{names}", hosts.head)) {
            // Its pod is over and its files are gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

fn zone(core: &Core) -> Result<Zone, Error> {
    let services: Vec<Service> = all(&core.store)?;
    let slices: Vec<EndpointSlice> = all(&core.store)?;
    // Those that follow a selector are in slices already.
    let by_hand: Vec<(&Option<String>, &Option<String>)> = services
        .iter()
        .filter(|service| meaning::selector(service).is_none())
        .map(|service| (&service.metadata.namespace, &service.metadata.name))
        .collect();
    let mut endpoints: Vec<Endpoints> = if by_hand.is_empty() { Vec::new() } else { all(&core.store)? };
    endpoints.retain(|object| by_hand.contains(&(&object.metadata.namespace, &object.metadata.name)));
    let gateway = core.ground().node.gateway;
    Ok(Zone::of(&services, &slices, &endpoints, &gateway))
}

fn all<T: Resource>(store: &Store) -> Result<Vec<T>, Error> {
    let page = store.list(&Query::all(Kind::of::<T>()))?;
    Ok(page.objects.iter().filter_map(|object| object.typed::<T>().cloned()).collect())
}

/// Writes the text into the file that is there.
fn rewrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    if before == text.len() && std::fs::read(path)? == text.as_bytes() {
        return Ok(());
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().max(before), b'\n');
    file.write_all_at(&bytes, 0)?;
    if bytes.len() > text.len() {
        file.set_len(text.len() as u64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_rewritten_in_place() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = path(dir.path());
        std::fs::write(&path, "first and long\n").expect("a file");
        let inode = std::fs::metadata(&path).expect("a file").ino();
        for text in ["short\n", "longer than it was before\n", "longer than it was before\n", ""] {
            rewrite(&path, text).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        assert_eq!(std::fs::metadata(&path).expect("a file").ino(), inode);
    }
}
