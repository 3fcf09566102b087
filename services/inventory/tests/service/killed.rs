//! kill -9 of the real process while it works: every order is held and committed once, every command answered once.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::eventually;
use uuid::Uuid;

use crate::world::World;

const ORDERS: i64 = 300;
const DEADLINE: Duration = Duration::from_secs(120);

/// Killed when dropped, so that a failed test leaves nothing running.
struct Process(Child);

impl Process {
    fn start(world: &World) -> Self {
        let settings = world.settings();
        let mut command = Command::new(env!("CARGO_BIN_EXE_inventory"));
        command
            .env("ONCEBOX_HTTP_ADDRESS", &settings.http_address)
            .env("ONCEBOX_DATABASE_URL", &settings.database_url)
            .env("ONCEBOX_KAFKA", &settings.kafka)
            .env("ONCEBOX_SCHEMA_REGISTRY", &settings.schema_registry)
            .env("ONCEBOX_TOPIC_PREFIX", &settings.topic_prefix)
            .env("ONCEBOX_LOG_FILTER", "warn")
            // Small batches: a kill then falls between them as often as into them.
            .env("ONCEBOX_BATCH_MAX_RECORDS", "5")
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// SIGKILL: no destructor, no shutdown, no last commit.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_holds_once_and_answers_once() {
    let world = World::new("killed").await;
    for product in ["tea", "mug"] {
        sqlx::query("insert into stock (product, on_hand) values ($1, 1000)")
            .bind(product)
            .execute(world.db.pool())
            .await
            .unwrap();
    }
    let mut commands = Vec::new();
    for _ in 0..ORDERS {
        let order = Uuid::now_v7();
        commands.push(world.reserve(order, &[("tea", 2), ("mug", 1)]).await);
        commands.push(world.commit(order).await);
    }
    let mut process = Process::start(&world);
    let mut interrupted = 0;
    for answered in [1, ORDERS / 2, ORDERS] {
        eventually("more answers", DEADLINE, async || {
            (world.answers().await >= answered).then_some(())
        })
        .await;
        process.kill();
        interrupted += i64::from(world.answers().await < 2 * ORDERS);
        process = Process::start(&world);
    }
    assert!(
        interrupted > 0,
        "no kill fell into the work: the test shows nothing"
    );
    eventually("an answer to each command", DEADLINE, async || {
        (world.answers().await >= 2 * ORDERS).then_some(())
    })
    .await;
    drop(process);

    let topic = format!("{}inventory.events", world.prefix);
    for command in commands {
        let topics: Vec<_> = world
            .led_to(command)
            .await
            .into_iter()
            .map(|(topic, _)| topic)
            .collect();
        assert_eq!(topics, [topic.as_str()], "one answer to {command}");
    }
    let levels: Vec<(String, i64, i64)> =
        sqlx::query_as("select product, on_hand, reserved from stock order by product")
            .fetch_all(world.db.pool())
            .await
            .unwrap();
    let left = [
        ("mug".to_owned(), 1000 - ORDERS, 0),
        ("tea".to_owned(), 1000 - 2 * ORDERS, 0),
    ];
    assert_eq!(levels, left);
}
