//! A real failover: a server is killed, and its standby, promoted to a new timeline, answers at its address.

use std::path::{Path, PathBuf};
use std::process::Command;

use devstack::process::{Identity, Launch};
use devstack::state::State;
use devstack::{External, Stack, StackOptions, Stop};
use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection, PgPool};

use crate::world::{PATIENCE, World, copy_of};

/// A server of the test's own, and the standby that takes its place.
struct Pair {
    primary: Stack,
    launch: Launch,
    standby: PathBuf,
    promoted: Option<Promoted>,
}

impl Pair {
    async fn start() -> Self {
        let dir = devstack::place::target().join(format!("dev-test-pair-{}", std::process::id()));
        let primary = Stack::start(StackOptions {
            external: External {
                kafka: Some(testkit::kafka_address()),
                database_url: None,
                registry_url: Some(testkit::registry_address()),
            },
            ..StackOptions::private(dir)
        })
        .await
        .unwrap();
        let mut state = State::read(primary.dir()).unwrap().unwrap();
        let launch = state.parts.remove("postgres").unwrap().launch;
        Self {
            primary,
            standby: launch.folder.with_extension("standby"),
            launch,
            promoted: None,
        }
    }

    /// Copies the running server's data as a base backup does.
    async fn back_up(&self) {
        let mut connection = PgConnection::connect(self.primary.database_url())
            .await
            .unwrap();
        sqlx::raw_sql("select pg_backup_start('standby', true)")
            .execute(&mut connection)
            .await
            .unwrap();
        copy(&self.launch.folder, &self.standby);
        let label: String = sqlx::query_scalar("select labelfile from pg_backup_stop(false)")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        for (name, text) in [("backup_label", label.as_str()), ("standby.signal", "")] {
            let file = self.standby.join(name);
            std::fs::write(&file, text).unwrap();
            if let Some((user, group)) = self.launch.user {
                std::os::unix::fs::chown(&file, Some(user), Some(group)).unwrap();
            }
        }
        std::fs::remove_file(self.standby.join("postmaster.pid")).unwrap();
    }

    /// Kills the primary; the standby gets all that it had written, its address, and is promoted.
    async fn fail_over(&mut self) {
        self.primary
            .stop_part("postgres", Stop::Kill)
            .await
            .unwrap();
        copy(
            &self.launch.folder.join("pg_wal"),
            &self.standby.join("pg_wal"),
        );
        let mut launch = self.launch.clone();
        let (from, to) = (self.launch.folder.display(), self.standby.display());
        for argument in &mut launch.arguments {
            *argument = argument.replace(&from.to_string(), &to.to_string());
        }
        launch.folder.clone_from(&self.standby);
        self.promoted = Some(Promoted(launch.start().unwrap()));
        let url = self.primary.database_url();
        let mut standby = testkit::eventually("the standby", PATIENCE, async || {
            PgConnection::connect(url).await.ok()
        })
        .await;
        let promoted: bool = sqlx::query_scalar("select pg_promote()")
            .fetch_one(&mut standby)
            .await
            .unwrap();
        assert!(promoted);
    }

    async fn remove(mut self) {
        if let Some(promoted) = self.promoted.take() {
            promoted.0.end(self.launch.ask(), PATIENCE).await;
        }
        std::fs::remove_dir_all(&self.standby).unwrap();
        self.primary.remove().await.unwrap();
    }
}

/// A server that also ends with a test that fails.
struct Promoted(Identity);

impl Drop for Promoted {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

/// The files with their owner and rights; what is there already is replaced.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let status = Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_standby_is_refused_until_it_is_adopted() {
    let (world, mut pair) = (World::new().await, Pair::start().await);
    let server = pair.primary.database_url();
    devstack::postgres::create_database(server, "orders")
        .await
        .unwrap();
    let url = devstack::postgres::database_url(server, "orders");
    let pool = PgPool::connect(&url).await.unwrap();
    oncebox::migrate(&pool).await.unwrap();
    let served = world.start(&url);
    world.insert(&pool, &["1", "2", "3"]).await;
    world.texts(3).await;
    pair.back_up().await;
    world.insert(&pool, &["4"]).await;
    testkit::eventually("the copy", PATIENCE, async || {
        (copy_of(&pool).await?.last_seq == 4).then_some(())
    })
    .await;

    // Asleep while it happens, as the machine of a relay may be: only what it finds afterwards tells it.
    served.signal(Signal::SIGSTOP);
    world.insert(&pool, &["5"]).await;
    pool.close().await;
    pair.fail_over().await;
    let pool = PgPool::connect(&url).await.unwrap();
    world.insert(&pool, &["6"]).await;
    served.signal(Signal::SIGCONT);
    world.stopped("relay.wrong_database").await;
    world.stopped("on timeline 2").await;
    assert_eq!(
        world.texts(4).await,
        ["1", "2", "3", "4"],
        "nothing before it is told"
    );

    world
        .set(&["cursor", "adopt", "--reason", "failed over"])
        .await;
    world.insert(&pool, &["7"]).await;
    assert_eq!(world.texts(7).await, ["1", "2", "3", "4", "5", "6", "7"]);
    drop(served);
    pool.close().await;
    pair.remove().await;
}
