//! Owns how much clients may ask of the API at once: one place for the limits that `jobdock serve` has flags for.
//! Never enforces them: `serve`, `call` and the handler do.

/// Limits of the API. The defaults are upstream's, where upstream has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests under way at once, streams aside; more wait a little and are answered 429 with `Retry-After`.
    /// Parity: upstream's 400 reading and 200 writing.
    pub requests: usize,
    /// Watches, followed logs and other streams at once: each costs a task and a socket.
    pub streams: usize,
    /// Connections at once, all listeners together; more wait in the kernel's queue.
    pub connections: usize,
    /// Bytes of one request's body; more is answered 413. Parity: upstream's 3 MiB, twice etcd's limit.
    pub body: usize,
    /// Bytes of one request's headers; more is answered 431.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests: 600, streams: 2000, connections: 1024, body: 3 << 20, headers: 64 << 10 }
    }
}
