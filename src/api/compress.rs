//! Owns the compression of large answers, for clients that accept gzip.
//! Never touches a stream that goes on: a watch or a log must come as it happens.

use std::io::Write;

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderMap, HeaderValue, header};

/// Smaller answers are sent as they are. Parity: `defaultGzipThresholdBytes`.
const THRESHOLD: usize = 128 * 1024;
/// Cheap and nearly as good as more. Parity: `defaultGzipContentEncodingLevel`.
const LEVEL: Compression = Compression::new(1);

/// The answer, compressed where it is large and the client accepts that.
pub async fn compress(accepted: bool, answer: Response) -> Response {
    if !accepted || answer.headers().contains_key(header::CONTENT_ENCODING) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let mut pieces = body.into_data_stream();
    let (mut first, mut size) = (Vec::new(), 0);
    while size <= THRESHOLD {
        let Some(piece) = pieces.next().await else {
            return Response::from_parts(parts, whole(first));
        };
        size += piece.as_ref().map_or(0, Bytes::len);
        first.push(piece);
    }
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, compressed(first, pieces))
}

/// Whether a client accepts gzip. Parity: `negotiateContentEncoding`, which knows no weights.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim() == "gzip")
}

/// A small body, in one piece where nothing failed, so that its length is known.
fn whole(pieces: Vec<Result<Bytes, axum::Error>>) -> Body {
    match pieces.iter().all(Result::is_ok) {
        true => Body::from(pieces.into_iter().flatten().collect::<Vec<Bytes>>().concat()),
        false => Body::from_stream(stream::iter(pieces)),
    }
}

fn compressed(first: Vec<Result<Bytes, axum::Error>>, rest: BodyDataStream) -> Body {
    let pieces = stream::iter(first).chain(rest);
    let state = Some((GzEncoder::new(Vec::new(), LEVEL), pieces));
    let out = stream::try_unfold(state, |state| async move {
        let Some((mut encoder, mut pieces)) = state else { return Ok::<_, axum::Error>(None) };
        match pieces.try_next().await? {
            Some(piece) => {
                encoder.write_all(&piece).map_err(axum::Error::new)?;
                let bytes = std::mem::take(encoder.get_mut());
                Ok(Some((Bytes::from(bytes), Some((encoder, pieces)))))
            }
            None => {
                let bytes = encoder.finish().map_err(axum::Error::new)?;
                Ok(Some((Bytes::from(bytes), None)))
            }
        }
    });
    // The encoder keeps what it can until it has more: an empty piece would say nothing.
    Body::from_stream(out.try_filter(|bytes| std::future::ready(!bytes.is_empty())))
}
