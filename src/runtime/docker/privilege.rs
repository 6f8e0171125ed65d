//! Owns what the engine's process may do on this machine and no reply of the engine's tells: whom it can spare when the
//! kernel is out of memory. Never asks the engine.
//!
//! An engine that is asked for more than it may does not start the container, and its words for that are misleading
//! ("can't get final child's PID from pipe"): engines inside containers often lack this privilege.

use std::path::PathBuf;

use tokio::net::UnixStream;

/// Bit of `CAP_SYS_RESOURCE`, without which no process may be spared.
const SYS_RESOURCE: u32 = 24;
/// `uid_map` of the machine's own user namespace, where alone that privilege counts.
const ALL_USERS: [&str; 3] = ["0", "0", "4294967295"];
/// The least that there is.
const LEAST: i64 = -1000;

/// The least adjustment (`oom_score_adj`) that the engine at this endpoint can give; 0, which every engine can, where
/// its process is not to be seen from here.
pub(super) async fn least_oom_score(endpoint: &str) -> i64 {
    let Some(path) = endpoint.strip_prefix("unix://") else { return 0 };
    let Ok(stream) = UnixStream::connect(path).await else { return 0 };
    // Whoever made the socket: the engine, or the service manager that hands the socket to it.
    let Some(pid) = stream.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0) else { return 0 };
    let read = |name: &str| tokio::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/{name}")));
    let (status, users, own) = tokio::join!(read("status"), read("uid_map"), read("oom_score_adj"));
    least(&status.unwrap_or_default(), &users.unwrap_or_default(), &own.unwrap_or_default())
}

/// What follows from a process's files: with the privilege anything, without it nothing below its own.
fn least(status: &str, users: &str, own: &str) -> i64 {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    if users.split_whitespace().eq(ALL_USERS) && effective & (1 << SYS_RESOURCE) != 0 {
        return LEAST;
    }
    own.trim().parse::<i64>().unwrap_or(0).max(0)
}

#[cfg(test)]
mod tests {
    use super::least;

    #[test]
    fn who_lacks_the_privilege_spares_nobody() {
        let (all, machine, nested) = ("Name:\td\nCapEff:\t000001ffffffffff\n", "0 0 4294967295\n", "0 1000 1\n");
        for (status, users, own, expected) in [
            (all, machine, "-500\n", -1000),
            ("CapEff:\t000001fffeffffff\n", machine, "0\n", 0),
            ("CapEff:\t000001fffeffffff\n", machine, "-500\n", 0),
            (all, nested, "200\n", 200),
            ("", "", "", 0),
        ] {
            assert_eq!(least(status, users, own), expected, "{status} {users} {own}");
        }
    }
}
