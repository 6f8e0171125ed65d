//! Owns the patience with a conversation in which nobody says anything.
//! Never knows what is said: any bytes count.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a conversation may be silent. Parity: the kubelet's `streamingConnectionIdleTimeout`.
const LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

/// When something was last said.
pub struct Idle(Mutex<Instant>);

impl Idle {
    /// Something was said now.
    pub fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    /// Something was said now.
    pub fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until nothing has been said for too long.
    pub async fn expired(&self) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + LIMIT;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_conversation_and_speech_prolongs_it() {
        let begin = Instant::now();
        let idle = Idle::new();
        let speech = async {
            tokio::time::sleep(LIMIT / 2).await;
            idle.touch();
        };
        tokio::join!(speech, idle.expired());
        assert_eq!(begin.elapsed(), LIMIT + LIMIT / 2);
    }
}
