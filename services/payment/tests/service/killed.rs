//! kill -9 of the real process while it works: every order is authorised and captured once, every command answered once.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use testkit::eventually;
use uuid::Uuid;

use crate::world::World;

const ORDERS: i64 = 60;
const DEADLINE: Duration = Duration::from_secs(120);

/// Killed when dropped, so that a failed test leaves nothing running.
struct Process(Child);

impl Process {
    fn start(world: &World) -> Self {
        let settings = world.settings();
        let mut command = Command::new(env!("CARGO_BIN_EXE_payment"));
        command
            .env("ONCEBOX_HTTP_ADDRESS", &settings.http_address)
            .env("ONCEBOX_DATABASE_URL", &settings.database_url)
            .env("ONCEBOX_KAFKA", &settings.kafka)
            .env("ONCEBOX_SCHEMA_REGISTRY", &settings.schema_registry)
            .env("ONCEBOX_TOPIC_PREFIX", &settings.topic_prefix)
            .env("ONCEBOX_PROVIDER_URL", &settings.provider_url)
            .env("ONCEBOX_LOG_FILTER", "warn")
            // Small batches: a kill then falls between them as often as into them.
            .env("ONCEBOX_BATCH_MAX_RECORDS", "7")
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
async fn killed_again_and_again_it_charges_once_and_answers_once() {
    let world = World::new("killed").await;
    let mut commands = Vec::new();
    for _ in 0..ORDERS {
        let order = Uuid::now_v7();
        commands.push(world.authorize(order, "tok_slow_25", "EUR").await);
        commands.push(world.capture(order).await);
    }
    let mut process = Process::start(&world);
    for answered in [1, ORDERS / 2, ORDERS] {
        eventually("more answers", DEADLINE, async || {
            (world.answers().await >= answered).then_some(())
        })
        .await;
        process.kill();
        process = Process::start(&world);
    }
    eventually("an answer to each command", DEADLINE, async || {
        (world.answers().await >= 2 * ORDERS).then_some(())
    })
    .await;
    drop(process);

    for command in commands {
        assert_eq!(
            world.led_to(command).await,
            [format!("{}payment.events", world.prefix)],
            "one answer to {command}"
        );
    }
    let ledger = world.ledger().await;
    assert_eq!(
        ledger["effects"],
        json!({"authorize": ORDERS, "capture": ORDERS, "void": 0, "refund": 0})
    );
    assert_eq!(
        (&ledger["doubled"], &ledger["held_minor"]),
        (&json!([]), &json!(0))
    );
}
