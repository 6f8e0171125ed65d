//! PURE. Owns the header blocks of SPDY/3.1: name-value lists, compressed with one zlib state per direction, which all
//! blocks of a connection share and which begins with a dictionary of the protocol's.
//! Never keeps a block longer than its limit, however little it was compressed to.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::frame::Broken;

/// Most bytes of a block. A stream's headers are its type, port and number.
const BLOCK_MAX: usize = 64 * 1024;
/// Bytes inflated at once.
const STEP: usize = 4 * 1024;

/// A stream's headers; names in lower case, as the protocol has them.
pub type Headers = BTreeMap<String, String>;

/// Words of the dictionary that have their length before them, in the protocol's order.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// What follows them as it is.
const TAIL: &str = "1001012012022052063003023033043053063074024054064074084094104114124134144154164175025045052\
    03 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 \
    Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul \
    Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=\
    utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// The dictionary that both directions begin with (section 2.6.10.1 of the SPDY/3.1 draft).
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in WORDS.split_whitespace().map(|word| word.replace('_', " ")) {
        put(&mut bytes, &word);
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads the blocks of one direction.
pub struct Inflater(Decompress);

impl Inflater {
    /// For a new connection.
    pub fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// Reads the next block.
    ///
    /// # Errors
    /// [`Broken`], which leaves the state of no more use.
    pub fn read(&mut self, block: &[u8]) -> Result<Headers, Broken> {
        let plain = self.inflate(block)?;
        parse(&plain).ok_or_else(|| Broken("the headers end too soon".to_owned()))
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, Broken> {
        let wrong = || Broken("the headers are not compressed as they should be".to_owned());
        let mut plain = Vec::with_capacity(STEP);
        loop {
            if plain.len() > BLOCK_MAX {
                return Err(Broken(format!("headers of more than {BLOCK_MAX} bytes")));
            }
            plain.reserve(STEP);
            let (read, written) = (self.0.total_in(), plain.len());
            let outcome = self.0.decompress_vec(block, &mut plain, FlushDecompress::Sync);
            let read = usize::try_from(self.0.total_in() - read).unwrap_or(block.len()).min(block.len());
            block = &block[read..];
            match outcome {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| wrong())?;
                }
                Err(_) => return Err(wrong()),
                // Nothing read and nothing written: all of it is out.
                Ok(_) if block.is_empty() && plain.len() < plain.capacity() => return Ok(plain),
                Ok(_) if read == 0 && plain.len() == written => return Err(wrong()),
                Ok(_) => {}
            }
        }
    }
}

/// A count, then names and values with their lengths; none where it is cut short. A repeated name keeps its last value.
fn parse(mut plain: &[u8]) -> Option<Headers> {
    let mut headers = Headers::new();
    for _ in 0..plain.try_get_u32().ok()? {
        let name = text(&mut plain)?.to_lowercase();
        headers.insert(name, text(&mut plain)?);
    }
    Some(headers)
}

fn text(plain: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(plain.try_get_u32().ok()?).ok()?;
    let bytes = plain.get(..length)?;
    plain.advance(length);
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// Writes the blocks of one direction.
pub struct Deflater(Compress);

impl Deflater {
    /// For a new connection.
    pub fn new() -> Self {
        let mut compress = Compress::new(Compression::fast(), true);
        // Fails only on a state that has been used already.
        let _checksum = compress.set_dictionary(&dictionary());
        Self(compress)
    }

    /// Writes the next block.
    pub fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = Vec::new();
        plain.put_u32(u32::try_from(headers.len()).unwrap_or(u32::MAX));
        for (name, value) in headers {
            put(&mut plain, &name.to_lowercase());
            put(&mut plain, value);
        }
        let mut block = Vec::new();
        let before = self.0.total_in();
        loop {
            block.reserve(plain.len() + STEP);
            let done = usize::try_from(self.0.total_in() - before).unwrap_or(plain.len());
            let outcome = self.0.compress_vec(&plain[done..], &mut block, FlushCompress::Sync);
            let all = self.0.total_in() - before == plain.len() as u64;
            if outcome.is_err() || (all && block.len() < block.capacity()) {
                return block;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_protocols() {
        // The checksum with which every peer asks for it.
        let checksum = Compress::new(Compression::fast(), true).set_dictionary(&dictionary());
        assert_eq!(checksum.expect("a new state"), 0xe3c6_a7c2);
    }

    #[test]
    fn a_block_that_swells_is_refused() {
        let mut deflater = Deflater::new();
        let block = deflater.write(&Headers::from([("a".to_owned(), "x".repeat(BLOCK_MAX * 4))]));
        assert!(block.len() < 10_000, "it compresses well: {}", block.len());
        let refused = Inflater::new().read(&block);
        assert_eq!(refused, Err(Broken(format!("headers of more than {BLOCK_MAX} bytes"))));
    }
}
