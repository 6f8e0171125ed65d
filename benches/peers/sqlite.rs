//! Owns the peer of the API's figures: plain SQLite in this process, as durable as jobdock's store (WAL,
//! `synchronous=FULL`), with rows of the same size under the same key. Never touches jobdock.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rusqlite::{Connection, params};

/// A table of objects and nothing else.
pub struct Sqlite {
    conn: Connection,
    rows: usize,
    _dir: tempfile::TempDir,
}

impl Sqlite {
    /// An empty one, on the disk that the daemons' data lies on.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let conn = Connection::open(dir.path().join("peer.db"))?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.execute_batch(
            "CREATE TABLE objects (namespace TEXT NOT NULL, name TEXT NOT NULL, json BLOB NOT NULL,
                                   PRIMARY KEY (namespace, name)) STRICT",
        )?;
        Ok(Self { conn, rows: 0, _dir: dir })
    }

    /// One row more, in a commit of its own.
    pub fn insert(&mut self, json: &[u8]) -> Result<Duration> {
        let start = Instant::now();
        let name = format!("row-{:08}", self.rows);
        self.conn
            .prepare_cached("INSERT INTO objects (namespace, name, json) VALUES (?1, ?2, ?3)")?
            .execute(params!["default", name, json])?;
        self.rows += 1;
        Ok(start.elapsed())
    }

    /// So many rows, a commit each.
    pub fn insert_many(&mut self, json: &[u8], rows: usize) -> Result<Duration> {
        (0..rows).map(|_| self.insert(json)).sum()
    }

    /// Rows until there are so many, in one commit.
    pub fn fill(&mut self, json: &[u8], rows: usize) -> Result<()> {
        self.conn.execute_batch("BEGIN")?;
        while self.rows < rows {
            self.insert(json)?;
        }
        Ok(self.conn.execute_batch("COMMIT")?)
    }

    /// Copies all rows out in the order of their keys, so many at a time.
    pub fn select(&self, page: usize) -> Result<Duration> {
        let start = Instant::now();
        let (mut after, mut found) = ((String::new(), String::new()), 0);
        while found < self.rows {
            let mut body = Vec::new();
            let mut statement = self.conn.prepare_cached(
                "SELECT namespace, name, json FROM objects WHERE (namespace, name) > (?1, ?2)
                 ORDER BY namespace, name LIMIT ?3",
            )?;
            let mut rows = statement.query(params![after.0, after.1, i64::try_from(page)?])?;
            let before = found;
            while let Some(row) = rows.next()? {
                body.extend_from_slice(row.get_ref(2)?.as_blob()?);
                after = (row.get(0)?, row.get(1)?);
                found += 1;
            }
            ensure!(found > before && !body.is_empty(), "the peer's table has fewer rows than were put in");
        }
        Ok(start.elapsed())
    }
}
