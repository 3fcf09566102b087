//! G1 and G3 under random interleavings: several writers begin, insert, commit and roll back while a relay reads, fails
//! and starts again, on a real PostgreSQL. A model knows what committed and in which order.
//!
//! `ONCEBOX_TEST_SEED` repeats a run, `ONCEBOX_TEST_INTERLEAVINGS` sets how many there are.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use outbox_relay::cursor::Cursor;
use outbox_relay::source::{Limits, PollingSource, Source as _, Table};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::{Connection as _, PgConnection};
use testkit::TestDb;

const WRITERS: usize = 4;
const KEYS: u8 = 3;
const STEPS: usize = 60;

/// A connection with at most one transaction, and what that has inserted.
struct Writer {
    connection: PgConnection,
    open: bool,
    /// Key and number of each row, in order.
    rows: Vec<(u8, u64)>,
    /// A `seq` that was drawn before its row is inserted, with the key that is locked for it.
    drawn: Option<(u8, i64)>,
}

/// The relay's side: what it has published, and where it would go on after a crash.
struct Reader {
    source: PollingSource,
    /// In memory.
    cursor: Cursor,
    /// In Kafka.
    committed: Cursor,
    published: Vec<(u8, u64)>,
}

struct World {
    writers: Vec<Writer>,
    /// Which writer holds the aggregate's lock.
    locks: BTreeMap<u8, usize>,
    /// What committed, in order.
    expected: BTreeMap<u8, Vec<u64>>,
    next: u64,
    reader: Reader,
    rng: StdRng,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_interleavings_lose_double_and_reorder_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seed: u64 = number("ONCEBOX_TEST_SEED").unwrap_or_else(rand::random);
    let count = number("ONCEBOX_TEST_INTERLEAVINGS").unwrap_or(2000);
    println!("ONCEBOX_TEST_SEED={seed} repeats this run");
    let database = TestDb::new("interleave").await;
    let mut world = World::new(&database, seed).await;
    for interleaving in 0..count {
        sqlx::query("truncate oncebox.outbox")
            .execute(database.pool())
            .await
            .unwrap();
        world.begin_again();
        for _ in 0..STEPS {
            world.step().await;
        }
        world.finish().await;
        world.check(&format!("seed {seed}, interleaving {interleaving}"));
    }
}

impl World {
    async fn new(database: &TestDb, seed: u64) -> Self {
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            writers.push(Writer {
                connection: PgConnection::connect(database.url()).await.unwrap(),
                open: false,
                rows: Vec::new(),
                drawn: None,
            });
        }
        let mut source = PollingSource::new(database.url(), &Table::default()).unwrap();
        let cursor = Cursor::beginning(source.identity().await.unwrap());
        Self {
            writers,
            locks: BTreeMap::new(),
            expected: BTreeMap::new(),
            next: 0,
            reader: Reader {
                source,
                committed: cursor.clone(),
                cursor,
                published: Vec::new(),
            },
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Half of the interleavings begin without a cursor, as a first start does.
    fn begin_again(&mut self) {
        self.expected.clear();
        self.reader.published.clear();
        if self.rng.random_bool(0.5) {
            let cursor = Cursor::beginning(self.reader.cursor.identity.clone());
            self.reader.cursor = cursor.clone();
            self.reader.committed = cursor;
        }
    }

    async fn step(&mut self) {
        let writer = self.rng.random_range(0..WRITERS);
        match self.rng.random_range(0..100) {
            0..45 => self.insert(writer).await,
            45..60 => self.end(writer, true).await,
            60..67 => self.end(writer, false).await,
            67..72 => self.draw(writer).await,
            // Ids that belong to no outbox row, as other work of the database has.
            72..76 => self.idle_transaction(writer).await,
            76..93 => self.reader.read(&mut self.rng).await,
            _ => self.reader.cursor = self.reader.committed.clone(),
        }
    }

    /// A key that the writer may lock: a service locks its aggregate before it inserts the aggregate's event.
    fn lock(&mut self, writer: usize) -> Option<u8> {
        let key = self.rng.random_range(0..KEYS);
        (*self.locks.entry(key).or_insert(writer) == writer).then_some(key)
    }

    async fn begin(&mut self, writer: usize) {
        if !self.writers[writer].open {
            self.writers[writer].run("begin").await;
            self.writers[writer].open = true;
        }
    }

    /// Draws a `seq` without an id for the transaction: the order in which the columns' defaults may be evaluated.
    async fn draw(&mut self, writer: usize) {
        self.begin(writer).await;
        if self.writers[writer].drawn.is_some() {
            return;
        }
        if let Some(key) = self.lock(writer) {
            let seq = sqlx::query_scalar("select nextval('oncebox.outbox_seq')")
                .fetch_one(&mut self.writers[writer].connection)
                .await
                .unwrap();
            self.writers[writer].drawn = Some((key, seq));
        }
    }

    async fn insert(&mut self, writer: usize) {
        self.begin(writer).await;
        let (key, seq) = match self.writers[writer].drawn.take() {
            Some((key, seq)) => (key, Some(seq)),
            None => match self.lock(writer) {
                Some(key) => (key, None),
                None => return,
            },
        };
        let number = self.next;
        self.next += 1;
        // Some rows are written in a savepoint, and some of those are taken back.
        let savepoint = self.rng.random_bool(0.3);
        let kept = !savepoint || self.rng.random_bool(0.5);
        let writer = &mut self.writers[writer];
        if savepoint {
            writer.run("savepoint s").await;
        }
        sqlx::query(
            "insert into oncebox.outbox (event_id, seq, topic, key, payload) values
             (gen_random_uuid(), coalesce($1, nextval('oncebox.outbox_seq')), 't', $2, $3)",
        )
        .bind(seq)
        .bind(vec![key])
        .bind(number.to_be_bytes().as_slice())
        .execute(&mut writer.connection)
        .await
        .unwrap();
        match (savepoint, kept) {
            (true, true) => writer.run("release s").await,
            (true, false) => writer.run("rollback to s").await,
            _ => {}
        }
        if kept {
            writer.rows.push((key, number));
        }
    }

    async fn idle_transaction(&mut self, writer: usize) {
        if self.writers[writer].open {
            return;
        }
        self.writers[writer]
            .run("select pg_current_xact_id()")
            .await;
    }

    async fn end(&mut self, writer: usize, commit: bool) {
        if !self.writers[writer].open {
            return;
        }
        let ended = &mut self.writers[writer];
        ended.run(if commit { "commit" } else { "rollback" }).await;
        ended.open = false;
        ended.drawn = None;
        for (key, number) in ended.rows.drain(..) {
            if commit {
                self.expected.entry(key).or_default().push(number);
            }
        }
        self.locks.retain(|_, owner| *owner != writer);
    }

    async fn finish(&mut self) {
        for writer in 0..WRITERS {
            let commit = self.rng.random_bool(0.7);
            self.end(writer, commit).await;
        }
        let mut quiet = 0;
        while quiet < 2 {
            let before = self.reader.published.len();
            self.reader.read_and_publish(LARGE).await;
            // A window's end, and the look after it.
            quiet = if self.reader.published.len() == before {
                quiet + 1
            } else {
                0
            };
        }
    }

    fn check(&self, case: &str) {
        let mut published: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
        for (key, number) in &self.reader.published {
            published.entry(*key).or_default().push(*number);
        }
        assert_eq!(published, self.expected, "{case}");
    }
}

const LARGE: Limits = Limits {
    rows: 1000,
    bytes: 1_000_000,
};

impl Reader {
    /// One look, with small batches so that windows are cut; sometimes publishing fails and nothing of it counts.
    async fn read(&mut self, rng: &mut StdRng) {
        let limits = Limits {
            rows: rng.random_range(1..6),
            bytes: rng.random_range(1..1000),
        };
        if rng.random_bool(0.2) {
            self.source.read(&self.cursor, limits, None).await.unwrap();
        } else {
            self.read_and_publish(limits).await;
        }
    }

    async fn read_and_publish(&mut self, limits: Limits) {
        let batch = self.source.read(&self.cursor, limits, None).await.unwrap();
        self.cursor = batch.next;
        if batch.rows.is_empty() {
            return;
        }
        // Rows and cursor together, as the Kafka transaction has them.
        self.committed = self.cursor.clone();
        for row in batch.rows {
            let number = row.payload.unwrap()[..].try_into().unwrap();
            self.published
                .push((row.key.unwrap()[0], u64::from_be_bytes(number)));
        }
    }
}

impl Writer {
    async fn run(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql)
            .execute(&mut self.connection)
            .await
            .unwrap();
    }
}
