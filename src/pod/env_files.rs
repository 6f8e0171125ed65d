//! Owns the reading of files that variables come from, in the engine's volumes. Never decides which: `env_file` did.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::apply;
use super::core::{Core, Error};
use super::env_file::{EnvFile, EnvRead, Place};
use super::facts::{Attempt, StartStep};
use super::mounts::Root;
use crate::runtime::{self, ContainerSpec, Runtime, directories};

/// Most bytes of a file. All of them together go to a process as arguments do, of which Linux takes 2 MiB.
const MAX_BYTES: usize = 1 << 20;

/// Reads the files for a run; `holder` mounts the engine's volumes, where there are any.
pub async fn read(
    core: &Core,
    uid: &str,
    run: Attempt,
    files: Vec<EnvFile>,
    holder: Option<Box<ContainerSpec>>,
) -> Result<(), Error> {
    match core.heard(contents(core.engine.as_ref(), holder.as_deref(), files).await) {
        Ok(files) => {
            let read = EnvRead { number: run.number, at: Timestamp::now(), files };
            core.memories.with(uid, |memory| memory.env_files.insert(run.container, read));
            Ok(())
        }
        Err(error) => apply::start_failed(core, uid, &run.container, StartStep::Configure, error),
    }
}

async fn contents(
    engine: &dyn Runtime,
    holder: Option<&ContainerSpec>,
    files: Vec<EnvFile>,
) -> Result<BTreeMap<Place, Option<String>>, runtime::Error> {
    if let Some(holder) = holder {
        engine.create(holder).await?;
    }
    let outcome = each(engine, holder, files).await;
    if let Some(holder) = holder {
        engine.remove(&holder.name).await?;
    }
    outcome
}

async fn each(
    engine: &dyn Runtime,
    holder: Option<&ContainerSpec>,
    files: Vec<EnvFile>,
) -> Result<BTreeMap<Place, Option<String>>, runtime::Error> {
    let mut out = BTreeMap::new();
    for EnvFile { place, root } in files {
        let bytes = match (&root, holder) {
            (Root::Engine(volume), Some(holder)) => {
                let path = format!("/{}/{}", directories::place(volume), place.1);
                engine.read(&holder.name, &path, MAX_BYTES).await?
            }
            (Root::Sandbox(container, root), _) => {
                engine.read(container, &format!("{root}/{}", place.1), MAX_BYTES).await?
            }
            (Root::Engine(_), None) | (Root::Host(_) | Root::Image(_), _) => None,
        };
        out.insert(place, bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(out)
}
