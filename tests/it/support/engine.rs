//! An engine that answers from a table, on a unix socket: for replies that the real one here never gives.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use futures::{StreamExt as _, stream};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;

/// What is answered to a method and path (`GET /v1.44/info`): status and body.
pub type Answers = Vec<(&'static str, u16, Vec<u8>)>;

/// The engine; gone with its value.
pub struct CannedEngine {
    path: PathBuf,
    _dir: tempfile::TempDir,
    _task: AbortOnDropHandle<()>,
    asked: Arc<Mutex<Vec<(String, HeaderMap)>>>,
}

impl CannedEngine {
    /// Answers by this table; anything else is a 404 with the engine's words.
    pub fn start(answers: Answers) -> Result<CannedEngine> {
        CannedEngine::start_stuck(answers, None)
    }

    /// As [`CannedEngine::start`], but a followed log begins with these bytes and then neither goes on nor ends.
    pub fn start_stuck(answers: Answers, followed: Option<Vec<u8>>) -> Result<CannedEngine> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("canned.sock");
        let listener = UnixListener::bind(&path)?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers) = (Arc::clone(&asked), Arc::new(answers));
        let router = Router::new().fallback(move |request: Request| {
            let (log, answers, followed) = (Arc::clone(&log), Arc::clone(&answers), followed.clone());
            async move {
                let line = format!("{} {}", request.method(), request.uri());
                log.lock().unwrap_or_else(PoisonError::into_inner).push((line.clone(), request.headers().clone()));
                if let Some(begun) = followed.filter(|_| line.contains("follow=true")) {
                    let begun = stream::iter([Ok::<_, std::io::Error>(begun)]);
                    return Body::from_stream(begun.chain(stream::pending())).into_response();
                }
                let path = line.split('?').next().unwrap_or_default();
                match answers.iter().find(|(known, _, _)| *known == path) {
                    Some((_, status, body)) => {
                        (StatusCode::from_u16(*status).expect("a status"), body.clone()).into_response()
                    }
                    None => (StatusCode::NOT_FOUND, r#"{"message":"page not found"}"#).into_response(),
                }
            }
        });
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is dropped");
        }));
        Ok(CannedEngine { path, _dir: dir, _task: task, asked })
    }

    /// `unix:///…`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Every request so far: method with path and query, and its headers.
    pub fn asked(&self) -> Vec<(String, HeaderMap)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
